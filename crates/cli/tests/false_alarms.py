#!/usr/bin/env python3
"""Scans files that are clean, and counts what is said of them: 10,000 of this machine, and kinds that a machine for programs lacks.

Generated are 500 Office files, 200 PDF files, 200 mails and 50 installers, by published packages that go into a virtual environment of
the scratch folder. Prints a table, and ends with 1 when anything was detected: a false alarm.

    crates/cli/tests/false_alarms.py [--scratch FOLDER] [--binary FILE] [--machine N] [--only GROUP]
"""

import argparse, collections, json, os, pathlib, random, subprocess, sys, tarfile, tempfile, time, venv

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parents[2] / "target"))
PACKAGES = ["XlsxWriter", "openpyxl", "python-docx", "python-pptx", "reportlab", "pypdf<6", "fpdf2"]
# The last release whose source archive carries examples/vbaProject.bin and builds without tools of its own.
WITH_VBA = "XlsxWriter==3.1.9"
COUNTS = {"office": 500, "pdf": 200, "mail": 200, "installers": 50}
# Samples of malware that packages bring along, to be found by others.
NO_CLEAN_FILES = ("/usr/share/clamav-testfiles",)
LARGEST = 64 << 20
BATCH = 1_000


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scratch", type=pathlib.Path)
    parser.add_argument("--binary", type=pathlib.Path, default=TARGET / "release" / "filesafety")
    parser.add_argument("--machine", type=int, default=10_000)
    parser.add_argument("--only")
    parser.add_argument("--make", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make(arguments.make)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        scratch = arguments.scratch or pathlib.Path(temporary)
        groups = {"machine": lambda: files_of_this_machine(arguments.machine)}
        generated(scratch)
        for group in COUNTS:
            groups[group] = lambda group=group: sorted(str(path) for path in (scratch / "files" / group).iterdir())
        wanted = {name: files for name, files in groups.items() if arguments.only in (None, name)}
        found = {name: scan(arguments.binary, files()) for name, files in wanted.items()}
    return print_table(found)


def generated(scratch: pathlib.Path) -> None:
    """Made once, by a Python that has the packages."""
    if (scratch / "files" / "done").exists():
        return
    environment = scratch / "venv"
    if not environment.exists():
        venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES, "setuptools", "wheel"], check=True)
    subprocess.run([python, "-m", "pip", "download", "--quiet", "--no-binary", ":all:", "--no-deps", "--no-build-isolation", WITH_VBA, "-d", scratch / "sdist"], check=True)
    subprocess.run([python, __file__, "--make", scratch], check=True)


def make(scratch: pathlib.Path) -> None:
    sys.path.insert(0, str(HERE / "false_alarms"))
    import installers, mails, office, pdfs

    folders = {group: scratch / "files" / group for group in COUNTS}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(next((scratch / "sdist").glob("*.tar.gz"))) as archive:
        name = next(name for name in archive.getnames() if name.endswith("/vbaProject.bin"))
        example = archive.extractfile(name).read()
    office.make(folders["office"], COUNTS["office"], example)
    pdfs.make(folders["pdf"], COUNTS["pdf"])
    files = lambda group: sorted(folders[group].iterdir())
    mails.make(folders["mail"], COUNTS["mail"], files("office"), files("pdf"))
    for missing in installers.make(folders["installers"], COUNTS["installers"], scratch / "payloads"):
        print(f"not made here: {missing}")
    for group, folder in folders.items():
        assert len(list(folder.iterdir())) == COUNTS[group], group
    (scratch / "files" / "done").touch()


def files_of_this_machine(count: int) -> list:
    """A sample that is the same each time, of all of /usr."""
    files = []
    for folder, _, names in os.walk("/usr"):
        if folder.startswith(NO_CLEAN_FILES):
            continue
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path) and 0 < os.path.getsize(path) <= LARGEST:
                files.append(path)
    return sorted(random.Random(1).sample(sorted(files), min(count, len(files))))


def scan(binary: pathlib.Path, files: list) -> dict:
    begun, results = time.monotonic(), []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FILESAFETY_")}
    for at in range(0, len(files), BATCH):
        command = [binary, "scan", "--json", "--types", "virus", *files[at : at + BATCH]]
        output = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True)
        if output.returncode not in (0, 1, 2) or output.stderr:
            sys.stderr.write(output.stderr)
        results += [json.loads(line) for line in output.stdout.splitlines()]
    assert len(results) == len(files), f"{len(results)} results of {len(files)} files"
    return {"results": results, "seconds": time.monotonic() - begun}


def print_table(found: dict) -> int:
    alarms = 0
    print(f"{'group':<12} {'files':>6} {'clean':>6} {'detected':>8} {'unexamined':>10} {'noted':>6} {'failed':>6} {'seconds':>8}")
    details = []
    for group, outcome in found.items():
        results = outcome["results"]
        kinds = collections.Counter()
        unexamined, notes = collections.Counter(), collections.Counter()
        for result in results:
            virus = result["virus"] or {}
            kind = virus.get("kind")
            kinds["clean" if virus.get("clean") else "failed" if not virus else "unexamined" if kind == "unexamined" else "detected"] += 1
            kinds["noted"] += bool(virus.get("notes"))
            unexamined.update({part["signature"] for part in (result["coverage"] or {}).get("unexamined", [])})
            notes.update({note["note"] for note in virus.get("notes", [])})
            if virus and kind not in (None, "unexamined"):
                details.append(f"ALARM {virus['signature']} ({kind}): {result['path']} -> {virus['path']}")
        alarms += kinds["detected"]
        print(f"{group:<12} {len(results):>6} {kinds['clean']:>6} {kinds['detected']:>8} {kinds['unexamined']:>10} {kinds['noted']:>6} {kinds['failed']:>6} {outcome['seconds']:>8.1f}")
        details += [f"  {group}: {count:>5} x {signature}" for signature, count in unexamined.most_common()]
        details += [f"  {group}: {count:>5} x note {note}" for note, count in notes.most_common(20)]
    print("\n".join(details))
    print(f"{alarms} false alarms")
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
