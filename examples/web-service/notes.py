"""A notes service and its command line, with nothing but the standard library.

notes.py serve PORT
notes.py add TEXT | list | health      (NOTES_URL says where the service is)
"""

from __future__ import annotations

import json
import os
import sys
from urllib.error import URLError
from urllib.request import Request, urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

NOTES: list[str] = []


def app(environ, start_response):
    """Answer GET /health, GET /notes and POST /notes."""
    status, answer = respond(environ)
    body = json.dumps(answer).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def respond(environ):
    match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
        case "GET", "/health":
            return "200 OK", {"status": "ok"}
        case "GET", "/notes":
            return "200 OK", {"notes": NOTES}
        case "POST", "/notes":
            size = int(environ.get("CONTENT_LENGTH") or 0)
            note = environ["wsgi.input"].read(size).decode().strip()
            if not note:
                return "400 Bad Request", {"error": "an empty note"}
            NOTES.append(note)
            return "201 Created", {"note": note}
    return "404 Not Found", {"error": "no such page"}


class Quiet(WSGIRequestHandler):
    def address_string(self):
        return self.client_address[0]  # the default may ask a name server


def serve(port):
    with make_server("127.0.0.1", port, app, handler_class=Quiet) as server:
        server.serve_forever()


def ask(path, note=None):
    data = None if note is None else note.encode()
    url = os.environ["NOTES_URL"] + path
    with urlopen(Request(url, data=data), timeout=10) as answer:  # noqa: S310 - the user names the service
        print(answer.read().decode())


def main(arguments):
    try:
        match arguments:
            case ["serve", port]:
                serve(int(port))
            case ["add", note]:
                ask("/notes", note)
            case ["list"]:
                ask("/notes")
            case ["health"]:
                ask("/health")
            case _:
                sys.exit(__doc__)
    except (URLError, OSError) as error:
        sys.exit(f"notes: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
