#!/usr/bin/env python3
"""Judges clean pictures, and counts what is said of them: icons, photos, diagrams, screenshots that packages of this machine bring.

Prints how many of which kind were judged, the false alarms of each category at the thresholds (suggestive at 0.8, since it is off by
default), and what was flagged. Ends with 1 when the rate of a category passes --most.

    crates/cli/tests/clean_pictures.py [--binary FILE] [--count N] [--most SHARE] [--list FILE] [FOLDER...]
"""

import argparse, collections, json, os, pathlib, random, subprocess, sys, time

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parents[2] / "target"))
ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ico", ".svg", ".apng", ".jp2")
CATEGORIES = ("explicit_nudity", "explicit_drawing", "suggestive")
BATCH = 500


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=pathlib.Path, default=TARGET / "release" / "filesafety")
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--most", type=float, default=0.05)
    parser.add_argument("--list", type=pathlib.Path, help="write one line of JSON for each picture")
    parser.add_argument("--model", help="FILESAFETY_NSFW_MODEL")
    parser.add_argument("folders", nargs="*", default=["/usr"])
    arguments = parser.parse_args()
    files = pictures(arguments.folders, arguments.count)
    begun, results = time.monotonic(), []
    for at in range(0, len(files), BATCH):
        results += scan(arguments.binary, files[at : at + BATCH], arguments.model)
    assert len(results) == len(files), f"{len(results)} results of {len(files)} pictures"
    if arguments.list:
        arguments.list.write_text("".join(json.dumps(result) + "\n" for result in results))
    return report(results, time.monotonic() - begun, arguments.most)


def pictures(folders: list, count: int) -> list:
    """A sample that is the same each time; of pictures that packages bring twice, one."""
    found = {}
    for top in folders:
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                if name.lower().endswith(ENDINGS) and os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path):
                    found.setdefault((name, os.path.getsize(path)), path)
    return sorted(random.Random(1).sample(sorted(found.values()), min(count, len(found))))


def scan(binary: pathlib.Path, files: list, model: str | None) -> list:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FILESAFETY_")}
    environment["FILESAFETY_POLICY"] = "strict,nsfw.suggestive=0.8"
    if model:
        environment["FILESAFETY_NSFW_MODEL"] = model
    output = subprocess.run([binary, "scan", "--json", "--types", "nsfw", *files], env=environment, cwd="/", capture_output=True, text=True)
    if output.returncode not in (0, 1, 2) or output.stderr:
        sys.stderr.write(output.stderr)
    return [json.loads(line) for line in output.stdout.splitlines()]


def report(results: list, seconds: float, most: float) -> int:
    kinds, faults, found, by_view = collections.Counter(), collections.Counter(), collections.Counter(), collections.Counter()
    flagged, looks = [], 0
    for result in results:
        nsfw = result["nsfw"] or {}
        ending = pathlib.Path(result["path"]).suffix.lower()
        if not nsfw.get("applied"):
            faults[f"{ending} {nsfw.get('reason') or 'no picture'}"] += 1
            continue
        kinds[ending] += 1
        looks += max(len(nsfw["views"]) - 1, 0)
        categories = [category for category in nsfw["categories"] if category in CATEGORIES]
        found.update(categories)
        if categories:
            worst = nsfw["views"][0]["name"] if nsfw["views"] else "whole"
            by_view[worst.split()[0]] += 1
            flagged.append(f"  {nsfw['confidence']:.3f} {'+'.join(categories)} ({worst}): {result['path']}")
    judged = sum(kinds.values())
    print(f"{len(results)} pictures, {judged} judged, {looks / max(judged, 1):.3f} further looks each, {seconds:.0f} s")
    print("judged: " + ", ".join(f"{count} {ending}" for ending, count in kinds.most_common()))
    print("not judged: " + (", ".join(f"{count} {fault}" for fault, count in faults.most_common()) or "none"))
    for category in CATEGORIES:
        print(f"{category}: {found[category]} of {judged}, {found[category] / max(judged, 1):.2%}")
    print("flagged by: " + ", ".join(f"{view} {count}" for view, count in by_view.most_common()))
    print("\n".join(sorted(flagged, reverse=True)))
    return 1 if any(found[category] > most * judged for category in CATEGORIES) else 0


if __name__ == "__main__":
    sys.exit(main())
