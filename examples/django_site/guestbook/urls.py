from django.urls import path

from guestbook import views

urlpatterns = [
    path("", views.index, name="index"),
    path("about/", views.about, name="about"),
    path("upload/", views.upload, name="upload"),
    path("body/", views.body, name="body"),
    path("stream/", views.stream, name="stream"),
    path("source/", views.source, name="source"),
]
