"""A small Flask application: a form, JSON, an upload, a streamed response, a session and a download."""

import hashlib
import os

from flask import Flask, Response, jsonify, render_template_string, request, send_file, session

app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY", "only good enough for trying this out")

PAGE = """<!doctype html>
<title>Flask on greenhorn</title>
<h1>{% if name %}Hello {{ name }}!{% else %}Hello!{% endif %}</h1>
<form method="post">
  <input name="name" placeholder="Your name" required>
  <button>Greet</button>
</form>
<form method="post" action="/upload" enctype="multipart/form-data">
  <input type="file" name="file" required>
  <button>Upload</button>
</form>
<p><a href="/visits">visits</a> <a href="/stream">stream</a> <a href="/source">source</a></p>
"""


@app.route("/", methods=["GET", "POST"])
def index():
    return render_template_string(PAGE, name=request.form.get("name", ""))


@app.post("/api/sum")
def total():
    numbers = request.get_json().get("numbers", [])
    return jsonify(count=len(numbers), sum=sum(numbers))


@app.post("/upload")
def upload():
    file = request.files["file"]
    digest = hashlib.sha256()
    size = 0
    while piece := file.stream.read(64 * 1024):
        digest.update(piece)
        size += len(piece)
    return jsonify(name=file.filename, size=size, sha256=digest.hexdigest())


@app.route("/body", methods=["POST", "PUT"])
def body():
    return jsonify(
        length=len(request.data),
        sha256=hashlib.sha256(request.data).hexdigest(),
        content_length=request.content_length,
    )


@app.get("/stream")
def stream():
    count = request.args.get("n", 10, type=int)
    return Response((f"line {i}\n" for i in range(count)), mimetype="text/plain")


@app.get("/visits")
def visits():
    session["visits"] = session.get("visits", 0) + 1
    return jsonify(visits=session["visits"])


@app.get("/source")
def source():
    """This file; If-None-Match and Range are answered by Flask."""
    return send_file(__file__, mimetype="text/x-python", conditional=True)
