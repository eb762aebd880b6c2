"""What the worker class asgi has around uvicorn's protocols."""
