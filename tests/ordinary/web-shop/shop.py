"""A small web shop on sqlite: `python3 shop.py PORT DATABASE`.

SHOP_BROKEN=login or SHOP_BROKEN=orders breaks a part of it, SHOP_SLOW lets an order take some seconds.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sqlite3
import sys
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SCHEMA = """
create table if not exists products (name text primary key, cents integer not null);
create table if not exists accounts (name text primary key, password text not null);
create table if not exists sessions (id text primary key, account text not null);
create table if not exists orders (id integer primary key, account text, product text, quantity integer, state text);
"""


class Shop(BaseHTTPRequestHandler):
    database = ""

    def do_GET(self):
        match self.path.strip("/").split("/"):
            case [""]:
                self.answer(200, {"shop": "open"})
            case ["products", name]:
                rows = self.sql("select cents from products where name = ?", name)
                self.answer(200, {"cents": rows[0][0]}) if rows else self.answer(
                    404, {"error": "no such product"}
                )
            case ["orders", number]:
                rows = self.sql(
                    "select product, quantity, state, quantity * cents from orders join products on name = product"
                    " where id = ? and account = ?",
                    number,
                    self.account(),
                )
                fields = ("product", "quantity", "state", "total")
                self.answer(200, dict(zip(fields, rows[0], strict=True))) if rows else self.answer(404, {})
            case _:
                self.answer(404, {})

    def do_POST(self):
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        match self.path.strip("/").split("/"):
            case ["products"]:
                self.sql("insert or replace into products values (?, ?)", said["name"], said["cents"])
                self.answer(201, {})
            case ["accounts"]:
                if self.sql("select 1 from accounts where name = ?", said["name"]):
                    self.answer(409, {"error": "this name is taken"})
                    return
                self.sql("insert into accounts values (?, ?)", said["name"], said["password"])
                self.answer(201, {})
            case ["sessions"]:
                self.log_in(said)
            case ["orders"]:
                self.order(said)
            case ["orders", number, "cancel"]:
                self.sql(
                    "update orders set state = 'cancelled' where id = ? and account = ?",
                    number,
                    self.account(),
                )
                self.answer(200, {})
            case _:
                self.answer(404, {})

    def log_in(self, said):
        if os.environ.get("SHOP_BROKEN") == "login":
            self.answer(500, {"error": "no sessions today"})
        elif self.sql(
            "select 1 from accounts where name = ? and password = ?", said["name"], said["password"]
        ):
            session = secrets.token_hex(8)
            self.sql("insert into sessions values (?, ?)", session, said["name"])
            self.answer(201, {"session": session})
        else:
            self.answer(403, {"error": "wrong name or password"})

    def order(self, said):
        with open(os.environ["LOG"], "a") as log:
            log.write("an order comes in\n")
        time.sleep(float(os.environ.get("SHOP_SLOW", "0")))
        if not self.account():
            self.answer(403, {"error": "log in first"})
            return
        quantity = 0 if os.environ.get("SHOP_BROKEN") == "orders" else said["quantity"]
        self.sql(
            "insert into orders (account, product, quantity, state) values (?, ?, ?, 'open')",
            self.account(),
            said["product"],
            quantity,
        )
        ((number,),) = self.sql("select max(id) from orders where account = ?", self.account())
        self.answer(201, {"number": number})

    def account(self):
        rows = self.sql("select account from sessions where id = ?", self.headers.get("Session", ""))
        return rows[0][0] if rows else ""

    def sql(self, statement, *values):
        with closing(sqlite3.connect(self.database)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Say nothing of each request."""


def main():
    port, Shop.database = int(sys.argv[1]), sys.argv[2]
    with closing(sqlite3.connect(Shop.database)) as connection:
        connection.executescript(SCHEMA)
    server = ThreadingHTTPServer(("127.0.0.1", port), Shop)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.serve_forever()


if __name__ == "__main__":
    main()
