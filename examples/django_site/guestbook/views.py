import hashlib
from pathlib import Path

from django import forms
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe


class EntryForm(forms.Form):
    name = forms.CharField(max_length=40)
    message = forms.CharField(max_length=200)


class UploadForm(forms.Form):
    file = forms.FileField()


def index(request):
    """The guestbook of this session: a form, and what was entered so far."""
    form = EntryForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        request.session["entries"] = [*request.session.get("entries", []), form.cleaned_data]
        return redirect("index")
    context = {"form": form, "upload": UploadForm(), "entries": request.session.get("entries", [])}
    return render(request, "index.html", context, status=400 if form.errors else 200)


@require_safe
def about(_request):
    return HttpResponse("A guestbook that every visitor has to herself.\n", content_type="text/plain")


@require_POST
def upload(request):
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    file = form.cleaned_data["file"]
    digest = hashlib.sha256()
    for piece in file.chunks():
        digest.update(piece)
    return JsonResponse({"name": file.name, "size": file.size, "sha256": digest.hexdigest()})


@csrf_exempt
def body(request):
    """What arrived as the body of the request; for programs, which have no CSRF token."""
    return JsonResponse(
        {
            "length": len(request.body),
            "sha256": hashlib.sha256(request.body).hexdigest(),
            "content_length": request.META.get("CONTENT_LENGTH"),
        }
    )


@require_safe
def stream(request):
    count = int(request.GET.get("n", "10"))
    return StreamingHttpResponse((f"line {i}\n" for i in range(count)), content_type="text/plain")


@require_safe
def source(_request):
    return FileResponse(Path(__file__).open("rb"), as_attachment=True, filename="views.py")
