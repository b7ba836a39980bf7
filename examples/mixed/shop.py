"""A shop in one file: `shop.py DATABASE init | prices FILE | register NAME | order NAME ITEM | total NAME`."""

from __future__ import annotations

import csv
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

TABLES = """
create table if not exists prices (item text primary key, cents integer not null);
create table if not exists customers (name text primary key);
create table if not exists orders (name text references customers, item text references prices);
"""


class Shop:
    def __init__(self, database):
        self._connection = sqlite3.connect(database)
        self._connection.execute("pragma foreign_keys = on")

    def close(self):
        self._connection.close()

    def init(self):
        self._connection.executescript(TABLES)

    def prices(self, file):
        with Path(file).open(encoding="utf-8", newline="") as rows:
            self._change("insert or replace into prices values (?, ?)", *csv.reader(rows))

    def register(self, name):
        self._change("insert into customers values (?)", (name,))

    def order(self, name, item):
        self._change("insert into orders values (?, ?)", (name, item))

    def total(self, name):
        query = "select coalesce(sum(cents), 0) from orders join prices using (item) where name = ?"
        return self._connection.execute(query, (name,)).fetchone()[0]

    def customers(self):
        return [name for (name,) in self._connection.execute("select name from customers order by name")]

    def _change(self, statement, *rows):
        with self._connection:
            self._connection.executemany(statement, rows)


def main(arguments):
    if len(arguments) < 2 or arguments[1] not in {
        "init",
        "prices",
        "register",
        "order",
        "total",
        "customers",
    }:
        sys.exit(__doc__)
    database, command, *others = arguments
    try:
        with closing(Shop(database)) as shop:
            answer = getattr(shop, command)(*others)
    except sqlite3.Error as error:
        sys.exit(f"shop: {error}")
    if answer is not None:
        print(*(answer if isinstance(answer, list) else [answer]), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
