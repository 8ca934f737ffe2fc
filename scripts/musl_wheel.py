"""The wheel for Alpine Linux: the ordinary one without the dependency that has no wheel there.

No environment marker tells musl from glibc, so a requirement cannot be left out there. An installer prefers a wheel
that names its platform to one for any, and on musl it finds this one.
"""

import base64
import csv
import hashlib
import io
import re
import sys
import zipfile
from pathlib import Path

DEPENDENCY = "kingfisher-secret-scanner"
TAG = "py3-none-musllinux_1_1_x86_64.musllinux_1_1_aarch64"


def musl_wheel(wheel: Path) -> Path:
    """Write the wheel for musl beside an ordinary one and give its path.

    Raises:
        ValueError: the ordinary one does not require what it is about.
    """
    name, version, *_ = wheel.name.split("-")
    path = wheel.with_name(f"{name}-{version}-{TAG}.whl")
    with zipfile.ZipFile(wheel) as given:
        files = {one: given.read(one) for one in given.namelist()}
    info = f"{name}-{version}.dist-info"
    metadata = files[f"{info}/METADATA"].decode()
    left, removed = re.subn(rf"^Requires-Dist: {DEPENDENCY}\b.*\n", "", metadata, flags=re.MULTILINE)
    if not removed:
        raise ValueError(f"{wheel.name} does not require {DEPENDENCY}")
    files[f"{info}/METADATA"] = left.encode()
    tags = "".join(f"Tag: py3-none-{one}\n" for one in TAG.rpartition("-")[2].split("."))
    made = files[f"{info}/WHEEL"].decode().replace("Tag: py3-none-any\n", tags)
    files[f"{info}/WHEEL"] = made.replace("Root-Is-Purelib: true", "Root-Is-Purelib: false").encode()
    del files[f"{info}/RECORD"]
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    for one, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.writerow((one, f"sha256={digest}", len(content)))
    rows.writerow((f"{info}/RECORD", "", ""))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        for one, content in {**files, f"{info}/RECORD": record.getvalue().encode()}.items():
            written.writestr(zipfile.ZipInfo(one, (2020, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return path


if __name__ == "__main__":
    print(musl_wheel(Path(sys.argv[1])))
