"""Long tasks in gunicorn's own pool, over HTTP/2 where the client has it."""

bind = "127.0.0.1:8000"
workers = 2
threads = 4
worker_class = "gthread"
dirty_apps = ["shop.tasks:Thumbnails", "shop.tasks:Reports:1"]
dirty_workers = 2
dirty_timeout = 600
http2_max_concurrent_streams = 200
control_socket = "shop.ctl"
control_socket_mode = 0o660


def on_dirty_starting(arbiter):
    arbiter.log.info("dirty")
