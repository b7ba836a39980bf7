"""A PEP 517 backend in the tree: it needs nothing from a package index. A wheel is a zip file with metadata."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from zipfile import ZipFile

INFO = "greeter-1.0.dist-info"
FILES = {
    "greeter.py": Path(__file__).with_name("greeter.py").read_text(encoding="utf-8"),
    f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n",
    f"{INFO}/WHEEL": "Wheel-Version: 1.0\nGenerator: backend\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{INFO}/entry_points.txt": "[console_scripts]\ngreet = greeter:main\n",
}


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    del config_settings, metadata_directory
    name = "greeter-1.0-py3-none-any.whl"
    with ZipFile(Path(wheel_directory, name), "w") as wheel:
        for path, text in FILES.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{INFO}/RECORD", "".join(map(record, FILES)) + f"{INFO}/RECORD,,\n")
    return name


def record(path):
    content = FILES[path].encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}\n"
