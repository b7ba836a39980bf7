"""A notes service, its database and its command line, with nothing but the standard library.

notes.py database PORT      a database in memory, which takes SQL and answers with the rows
notes.py serve PORT         the service; DATABASE_URL says where its database is
notes.py sql STATEMENT | health | login NAME PASSWORD | whoami | logout | add TEXT | show ID | edit ID TEXT
         | delete ID | search WORD | tag ID TAG | tags ID | export FILE | import FILE | version
                            the command line; NOTES_URL says where the service is, SESSION who asks

NOTES_BROKEN=add or NOTES_BROKEN=health breaks a part of it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

PASSWORDS = {"ada": "lovelace"}
SESSIONS: dict[str, str] = {}
BROKEN = os.environ.get("NOTES_BROKEN", "")


class Database:
    def __init__(self):
        import sqlite3

        self.tables = sqlite3.connect(":memory:", isolation_level=None)

    def respond(self, said, _):
        return 200, self.tables.execute(*said).fetchall()


class Service:
    def respond(self, said, session):
        command, *words = said
        if command == "health":
            return (500, "unwell") if BROKEN == "health" else (200, "well")
        if command == "login":
            name, password = words
            if PASSWORDS.get(name) != password:
                return 403, "wrong name or password"
            session = f"s-{os.urandom(6).hex()}"
            SESSIONS[session] = name
            return 201, {"session": session}
        if session not in SESSIONS:
            return 403, "log in first"
        return self.for_account(SESSIONS[session], session, command, words)

    def for_account(self, account, session, command, words):
        match command, words:
            case "whoami", []:
                return 200, account
            case "logout", []:
                del SESSIONS[session]
                return 200, "bye"
            case "add", [text]:
                if BROKEN == "add":
                    return 500, "the disk is full"
                sql("insert into notes (account, text) values (?, ?)", account, text)
                return 201, {"id": sql("select max(id) from notes")[0][0]}
            case "show", [number]:
                return 200, sql("select text from notes where id = ?", number)[0][0]
            case "edit", [number, text]:
                sql("update notes set text = ? where id = ?", text, number)
                return 200, "changed"
            case "delete", [number]:
                sql("delete from notes where id = ?", number)
                return 200, "deleted"
            case "search", [word]:
                return 200, [row[0] for row in sql("select id from notes where text like ?", f"%{word}%")]
            case "tag", [number, tag]:
                sql("insert into tags values (?, ?)", number, tag)
                return 200, "tagged"
            case "tags", [number]:
                return 200, sorted({row[0] for row in sql("select tag from tags where note = ?", number)})
            case "export", []:
                return 200, [row[0] for row in sql("select text from notes where account = ?", account)]
        return 400, f"no such command: {command}"


def ask(url, said, session=""):
    """Send a line of JSON; give the status and the answer, which are another."""
    host, _, port = url.removeprefix("notes://").partition(":")
    with (
        socket.create_connection((host, int(port)), timeout=30) as connection,
        connection.makefile("rw") as stream,
    ):
        stream.write(json.dumps([said, session]) + "\n")
        stream.flush()
        return json.loads(stream.readline())


def sql(statement, *values):
    status, rows = ask(os.environ["DATABASE_URL"], [statement, values])
    if status != 200:
        raise RuntimeError(rows)
    return rows


def serve(product, port):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with socket.create_server(("127.0.0.1", int(port))) as server:
        while True:
            connection, _ = server.accept()
            with connection, connection.makefile("rw") as stream:
                answer_one(product, stream)


def answer_one(product, stream):
    line = stream.readline()
    if line:
        try:
            answer = product.respond(*json.loads(line))
        except Exception as error:
            answer = 400, str(error)
        stream.write(json.dumps(answer) + "\n")


def command_line(words):
    match words:
        case ["sql", statement]:
            return 200, sql(statement)
        case ["version"]:
            return 200, "notes 1.4"
        case ["import", file]:
            with open(file) as archive:
                notes = json.load(archive)
            for note in notes:
                command_line(["add", note])
            return 200, f"{len(notes)} imported"
        case ["export", file]:
            status, notes = command_line(["export"])
            with open(file, "w") as archive:
                json.dump(notes, archive)
            return status, f"exported to {file}"
    return ask(os.environ["NOTES_URL"], words, os.environ.get("SESSION", ""))


def main(words):
    match words:
        case ["database", port]:
            serve(Database(), port)
        case ["serve", port]:
            serve(Service(), port)
    try:
        status, answer = command_line(words)
    except (OSError, RuntimeError, ValueError) as error:
        status, answer = 500, str(error)
    print(answer if isinstance(answer, str) else json.dumps(answer))
    return 0 if status < 400 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
