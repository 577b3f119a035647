#!/usr/bin/env python3
"""FileSafety and clamd side by side: the same signatures, the same files, on this machine, one after the other.

usage: bench.py FOLDER [--program PATH] [--databases plain,hard] [--files KINDS] [--growth 0.1,1,4] [--floods COUNT]

A database is `plain` or `hard`, which are made, or the path of a folder of signature files; KINDS is a folder with one of files for each
kind of file, beside those that are made. FOLDER takes the databases and both services' data; some gigabytes with --growth. Run it on an idle machine: megabytes per CPU-second
hold on a busy one, wall times do not. Needs a `clamd` and a release build of `filesafety`."""
import argparse, http.client, json, os, shutil, socket, statistics, struct, subprocess, sys, threading, time
import made

TICKS = os.sysconf("SC_CLK_TCK")
KEY = "fs_live_" + "b" * 32


def tree(root):
    """The process and all below it."""
    parents = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(pid)] = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
        except OSError:
            pass
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu(root):
    total = 0
    for pid in tree(root):
        try:
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            total += sum(int(fields[n]) for n in (11, 12, 13, 14))
        except OSError:
            pass
    return total / TICKS


def memory(root):
    """Proportional set size of all processes together, in MB."""
    total = 0
    for pid in tree(root):
        try:
            total += int(next(line for line in open(f"/proc/{pid}/smaps_rollup") if line.startswith("Pss:")).split()[1])
        except (OSError, StopIteration):
            pass
    return total / 1000


class Peak(threading.Thread):
    """The most memory that was seen meanwhile."""

    def __init__(self, root):
        super().__init__(daemon=True)
        self.root, self.most, self.done = root, 0, False
        self.start()

    def run(self):
        while not self.done:
            self.most = max(self.most, memory(self.root))
            time.sleep(0.02)

    def end(self):
        self.done = True
        self.join()
        return self.most


class Clamd:
    name = "clamd"

    def __init__(self, folder, database):
        self.socket, config = f"{folder}/clamd.sock", f"{folder}/clamd.conf"
        settings = {"LocalSocket": self.socket, "DatabaseDirectory": database, "Foreground": "yes", "DisableCache": "yes", "SelfCheck": "0"}
        settings |= {limit: "400M" for limit in ("StreamMaxLength", "MaxFileSize", "MaxScanSize")} | {"MaxFiles": "100000"}
        with open(config, "w") as file:
            file.writelines(f"{key} {value}\n" for key, value in settings.items())
        begun = time.monotonic()
        self.process = subprocess.Popen(["clamd", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait(120)
        self.started = time.monotonic() - begun

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if self.say(b"PING").startswith(b"PONG"):
                    return
            except OSError:
                time.sleep(0.02)
        raise SystemExit("clamd does not answer")

    def say(self, command):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(self.socket)
            line.sendall(b"z" + command + b"\0")
            return line.recv(4096)

    def scan(self, content, _client):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(self.socket)
            line.sendall(b"zINSTREAM\0")
            for at in range(0, len(content), 1 << 18):
                piece = content[at : at + (1 << 18)]
                line.sendall(struct.pack(">I", len(piece)) + piece)
            line.sendall(b"\0\0\0\0")
            answer = b""
            while not answer.endswith(b"\0"):
                piece = line.recv(4096)
                if not piece:
                    break
                answer += piece
        return "infected" if b"FOUND" in answer else "clean" if b"OK" in answer else answer.decode()

    def reload(self, _database):
        self.say(b"RELOAD")
        time.sleep(1)
        before = cpu(self.process.pid)
        while True:
            time.sleep(1)
            now = cpu(self.process.pid)
            if now - before < 0.05:
                return
            before = now

    def end(self):
        self.process.terminate()
        self.process.wait()


class FileSafety:
    name = "filesafety"

    def __init__(self, folder, database, program):
        self.folder, self.program = f"{folder}/data", program
        environment = {
            "PATH": os.environ["PATH"],
            "FILESAFETY_DATA_DIR": self.folder,
            "FILESAFETY_RULES_DIR": database,
            "FILESAFETY_LISTEN": "127.0.0.1:0",
            "FILESAFETY_API_KEY": KEY,
            "FILESAFETY_SCAN_THREADS": "2",
        }
        begun = time.monotonic()
        self.log = open(f"{folder}/filesafety.log", "w+")
        self.process = subprocess.Popen([program, "serve"], env=environment, stdout=self.log, stderr=self.log)
        self.port = self.listening()
        while self.get("/readyz")[0] != 200:
            time.sleep(0.02)
        self.started = time.monotonic() - begun
        setting = [program, "accounts", "set", "default", "--rate", "off", "--quota", "none"]
        subprocess.run(setting, env=environment, check=True, stdout=subprocess.DEVNULL)
        time.sleep(2.5)
        self.clients = [http.client.HTTPConnection("127.0.0.1", self.port) for _ in range(4)]

    def listening(self):
        end = time.monotonic() + 300
        while time.monotonic() < end and self.process.poll() is None:
            for line in open(self.log.name):
                if "127.0.0.1:" in line:
                    return int("".join(c for c in line.split("127.0.0.1:")[1][:5] if c.isdigit()))
            time.sleep(0.02)
        raise SystemExit("filesafety does not start: " + open(self.log.name).read())

    def get(self, path):
        try:
            line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            line.request("GET", path)
            answer = line.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""

    def scan(self, content, client):
        part = b'--b\r\ncontent-disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
        body = part % (b"scan_types", b"", b'["virus"]') + part % (b"file", b'; filename="f"', content) + b"--b--\r\n"
        headers = {"content-type": "multipart/form-data; boundary=b", "x-api-key": KEY, "cache-control": "no-cache"}
        line = self.clients[client]
        line.request("POST", "/v1/scan", body, headers)
        answer = line.getresponse()
        told = json.loads(answer.read())
        # What takes longer than a caller waits.
        while told.get("status") in ("pending", "scanning"):
            time.sleep(0.1)
            line.request("GET", f"/v1/scan/{told['scan_id']}", headers={"x-api-key": KEY})
            told = json.loads(line.getresponse().read())
        return told.get("verdict") or str(told)

    def reload(self, database):
        before = self.reloads()
        os.utime(f"{database}/own.hdb")
        with open(f"{database}/own.hdb", "a") as file:
            file.write(f"{os.urandom(16).hex()}:77:Own.Added\n")
        while self.reloads() == before:
            time.sleep(0.05)

    def reloads(self):
        return open(self.log.name).read().count("rules reloaded")

    def end(self):
        self.process.terminate()
        self.process.wait()


def run(service, contents, clients):
    """(files, megabytes, megabytes per CPU-second) a second of wall time, median milliseconds, verdicts."""
    times, verdicts, lock = [], {}, threading.Lock()

    def work(client):
        for content in contents[client::clients]:
            begun = time.monotonic()
            verdict = service.scan(content, client)
            with lock:
                times.append(time.monotonic() - begun)
                verdicts[verdict] = verdicts.get(verdict, 0) + 1

    size = sum(map(len, contents)) / 1e6
    spent, begun = cpu(service.process.pid), time.monotonic()
    threads = [threading.Thread(target=work, args=(client,)) for client in range(clients)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    wall, spent = time.monotonic() - begun, max(cpu(service.process.pid) - spent, 1 / TICKS)
    return {
        "files/s": len(contents) / wall,
        "MB/s": size / wall,
        "MB/CPU-s": size / spent,
        "CPU ms/file": spent / len(contents) * 1e3,
        "median ms": statistics.median(times) * 1e3,
        "verdicts": verdicts,
    }


def side_by_side(folder, database, files, program):
    rows, states = {}, {}
    for make in (lambda: Clamd(folder, database), lambda: FileSafety(folder, database, program)):
        service = make()
        state = {"start s": service.started, "memory MB": memory(service.process.pid)}
        for kind, contents in files.items():
            run(service, contents[: max(1, len(contents) // 20)], 1)
            for clients in (1, 2) if len(contents) > 1 else (1,):
                rows.setdefault((kind, clients), {})[service.name] = run(service, contents, clients)
        state["memory after MB"] = memory(service.process.pid)
        peak = Peak(service.process.pid)
        service.reload(database)
        state["reload peak MB"] = peak.end()
        service.end()
        if isinstance(service, FileSafety):
            again = make()
            state["start from cache s"] = again.started
            again.end()
        states[service.name] = state
    return rows, states


def show(name, count, rows, states):
    print(f"\n## {name}: {count:,} signatures\n")
    print("| files, clients | measure | clamd | filesafety | ratio |\n|---|---|---|---|---|")
    for (kind, clients), row in rows.items():
        for measure in ("files/s", "MB/s", "MB/CPU-s", "CPU ms/file", "median ms"):
            theirs, ours = row["clamd"][measure], row["filesafety"][measure]
            ratio = theirs / ours if "ms" in measure else ours / theirs
            print(f"| {kind}, {clients} | {measure} | {theirs:,.2f} | {ours:,.2f} | {ratio:.1f} |")
        told = [row[service]["verdicts"] for service in ("clamd", "filesafety")]
        if told[0] != told[1]:
            print(f"| {kind}, {clients} | verdicts | {told[0]} | {told[1]} | |")
    for measure in ("start s", "start from cache s", "memory MB", "memory after MB", "reload peak MB"):
        theirs, ours = states["clamd"].get(measure), states["filesafety"].get(measure)
        shown = "" if theirs is None else f"{theirs:,.2f}"
        print(f"| | {measure} | {shown} | {ours:,.2f} | {'' if theirs is None else f'{theirs / ours:.1f}'} |", flush=True)


def growth(folder, scales, files, program):
    print("\n## Growth with the database (hard)\n\n| signatures | start s | from cache s | memory MB | small: CPU ms/file | text: MB/CPU-s | random: MB/CPU-s | 1 KB object: ms |")
    print("|---|---|---|---|---|---|---|---|")
    for scale in scales:
        database = f"{folder}/hard-{scale}"
        count = made.database(database, scale, hard=True)
        first = FileSafety(fresh(f"{folder}/growth"), database, program)
        first.end()
        service = FileSafety(f"{folder}/growth", database, program)
        seen = {kind: [run(service, contents, 1) for _ in range(2)][-1] for kind, contents in files.items()}
        each = seen["objects"]["CPU ms/file"] / made.MEMBERS
        print(
            f"| {count:,} | {first.started:.2f} | {service.started:.2f} | {memory(service.process.pid):.0f} | {seen['small']['CPU ms/file']:.2f} "
            f"| {seen['text']['MB/CPU-s']:.0f} | {seen['random']['MB/CPU-s']:.0f} | {each:.4f} |",
            flush=True,
        )
        service.end()
        shutil.rmtree(database)
        os.remove(f"{database}.count")


def floods(folder, database, count, program):
    service = FileSafety(fresh(f"{folder}/floods"), database, program)
    seen = []
    for byte in range(0, 256, max(1, 256 // count)):
        content = bytes([byte]) * 100_000_000
        result = run(service, [content], 1)
        seen.append((result["CPU ms/file"] / 1e3, byte, next(iter(result["verdicts"]))))
    service.end()
    seen.sort(reverse=True)
    print(f"\n## 100 MB of one byte, {len(seen)} bytes: CPU seconds\n")
    print(f"median {statistics.median(time for time, _, _ in seen):.2f}, worst " + ", ".join(f"{time:.2f} (0x{byte:02x}, {told})" for time, byte, told in seen[:5]))


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def the_database(folder, name):
    if name in ("plain", "hard"):
        return f"{folder}/{name}", made.database(f"{folder}/{name}", hard=name == "hard")
    # A copy: this adds a signature before each reload.
    database = f"{folder}/{os.path.basename(name)}"
    shutil.copytree(name, fresh(database), dirs_exist_ok=True)
    with open(f"{database}/own.hdb", "w") as file:
        file.write(f"{os.urandom(16).hex()}:77:Own.First\n")
    return database, sum(open(f"{name}/{file}", "rb").read().count(b"\n") for file in os.listdir(name))


def contents(folder):
    return [open(f"{folder}/{file}", "rb").read() for file in sorted(os.listdir(folder))]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder")
    arguments.add_argument("--program", default="target/release/filesafety")
    arguments.add_argument("--databases", default="plain,hard")
    arguments.add_argument("--files", metavar="KINDS")
    arguments.add_argument("--growth", default="")
    arguments.add_argument("--floods", type=int, default=0, help="how many of the 256 bytes")
    given = arguments.parse_args()
    program, files = os.path.abspath(given.program), made.files()
    if given.files:
        files = {kind: contents(f"{given.files}/{kind}") for kind in sorted(os.listdir(given.files))} | {"objects": files["objects"]}
    for name in filter(None, given.databases.split(",")):
        database, count = the_database(given.folder, name)
        show(name, count, *side_by_side(fresh(f"{given.folder}/run"), database, files, program))
        if given.floods and name != "plain":
            floods(given.folder, database, given.floods, program)
    if given.growth:
        growth(given.folder, [float(scale) for scale in given.growth.split(",")], files, program)


if __name__ == "__main__":
    sys.exit(main())
