#!/usr/bin/env python3
"""Runs the programs of docs/receiving.md as they stand there, each against the real service and webhooks that are forged.

Installs the published packages into target/receivers. What is not on this machine is said, and not run.
"""

import base64, contextlib, hashlib, hmac, json, os, pathlib, re, secrets, shutil, socket, subprocess, sys, tempfile, threading, time
import urllib.error, urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
INSTALLED = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "receivers"
BINARY = INSTALLED.parent / "debug" / "filesafety"
SECRET = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
KEY = "fs_live_" + secrets.token_urlsafe(24)
with socket.create_server(("127.0.0.1", 0)) as free:
    PORT = str(free.getsockname()[1])
HOOK = f"http://127.0.0.1:{PORT}/webhooks/filesafety"
# In two parts, so that this file is not the test file itself.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
CLEAN_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("FILESAFETY_")}


class Program:
    """A child whose output is kept."""

    def __init__(self, command, folder, **environment):
        self.said = []
        self.child = subprocess.Popen(
            command, cwd=folder, env=CLEAN_ENVIRONMENT | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=lambda: self.said.extend(self.child.stdout), daemon=True).start()

    def wait_for(self, pattern, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in list(self.said):
                if found := re.search(pattern, line):
                    return found
            if self.child.poll() is not None:
                break
            time.sleep(0.05)
        sys.exit(f"{pattern!r} never came: {''.join(self.said)}")

    def kill(self):
        self.child.kill()
        self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def call(method, url, body=None, **headers):
    """Status and body."""
    request = urllib.request.Request(url, body, {name.replace("_", "-"): value for name, value in headers.items()}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def program_in(page, name):
    """The block of the page whose first line names the file, on a port that is free here."""
    block = re.search(rf"^```\w+\n((?://|#) {re.escape(name)}\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return block[1].replace("3000", PORT) if block else sys.exit(f"docs/receiving.md has no {name}")


def submit(service, file):
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="webhook_url"\r\n\r\n{HOOK}\r\n'.encode(),
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'.encode() + file,
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    content_type = f"multipart/form-data; boundary={boundary}"
    status, answer = call("POST", f"{service}/v1/scan", b"".join(parts), x_api_key=KEY, content_type=content_type)
    assert status == 200, answer
    return json.loads(answer)["scan_id"]


def signed(body, secret=SECRET, at=None, id="evt_test"):
    at = str(int(time.time()) if at is None else at)
    tag = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), f"{id}.{at}.".encode() + body, hashlib.sha256)
    return {"webhook_id": id, "webhook_timestamp": at, "webhook_signature": "v1," + base64.b64encode(tag).decode()}


def assert_refuses_forgeries():
    """Nothing but a body signed now with the secret comes in."""
    body = json.dumps({"event": "scan.complete", "scan_id": "scn_forged", "verdict": "clean", "metadata": {}}).encode()
    other = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    forged = {
        "without a signature": (body, {}),
        "with another secret": (body, signed(body, other)),
        "with another body": (body + b" ", signed(body)),
        "from long ago": (body, signed(body, at=int(time.time()) - 400)),
        "with rubbish": (body, signed(body) | {"webhook_signature": "rubbish"}),
        "with a signature that is no base64": (body, signed(body) | {"webhook_signature": "v1,!"}),
        "with a time that is none": (body, signed(body) | {"webhook_timestamp": "soon"}),
        "with bytes that are no text": (b"\xff\xfe", signed(body)),
    }
    for what, (sent, headers) in forged.items():
        status, _ = call("POST", HOOK, sent, content_type="application/json", **headers)
        assert status == 401, f"{what}: {status}"
    large = b" " * (300 * 1024)
    with contextlib.suppress(urllib.error.URLError, ConnectionError):  # it may close the connection before it is all sent
        status, _ = call("POST", HOOK, large, content_type="application/json", **signed(large))
        assert status == 413, status


def check(language, service, start):
    """The verified webhook is handled, once, also after a crash; forged ones are refused."""
    with start() as receiver:
        receiver.wait_for("ready|startup complete")
        infected, clean = submit(service, EICAR), submit(service, b"clean " + secrets.token_bytes(8))
        receiver.wait_for(f"^quarantine {infected}$")
        receiver.wait_for(f"^publish {clean}$")
        assert_refuses_forgeries()
        redeliver(service, infected)
        time.sleep(0.2)
    with start() as again:
        again.wait_for("ready|startup complete")
        redeliver(service, infected)
        third = submit(service, b"clean " + secrets.token_bytes(8))
        again.wait_for(f"^publish {third}$")
        handled = [line for line in receiver.said + again.said if infected in line and line.startswith("quarantine")]
        assert len(handled) == 1, f"handled once: {handled}"
        assert not any("forged" in line for line in receiver.said + again.said)
    print(f"{language}: handled, once; forgeries refused")


def redeliver(service, scan_id):
    """Sends the webhook again and waits until it is delivered."""
    before = len(attempts(service, scan_id))
    for _ in range(100):
        status, answer = call("POST", f"{service}/v1/scan/{scan_id}/redeliver", b"", x_api_key=KEY)
        if status == 202:
            break
        time.sleep(0.05)
    assert status == 202, answer
    for _ in range(200):
        made = attempts(service, scan_id)
        if len(made) > before and made[-1]["delivered"]:
            return
        time.sleep(0.05)
    sys.exit(f"not delivered again: {made}")


def attempts(service, scan_id):
    return json.loads(call("GET", f"{service}/v1/scan/{scan_id}/deliveries", x_api_key=KEY)[1])["deliveries"]


def node_receiver(folder, page):
    """The packages are installed once."""
    installed = INSTALLED / "node"
    if not (installed / "node_modules" / "standardwebhooks").exists():
        installed.mkdir(parents=True, exist_ok=True)
        (installed / "package.json").write_text("{}")
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "express", "standardwebhooks"], cwd=installed, check=True)
    (folder / "receiver.mjs").write_text(program_in(page, "receiver.mjs"))
    (folder / "node_modules").symlink_to(installed / "node_modules")
    return ["node", "receiver.mjs"]


def python_receiver(folder, page):
    """The packages are installed once."""
    installed = INSTALLED / "python" / "bin"
    if not (installed / "uvicorn").exists():
        subprocess.run([sys.executable, "-m", "venv", installed.parent], check=True)
        subprocess.run([installed / "pip", "install", "--quiet", "fastapi", "uvicorn", "standardwebhooks"], check=True)
    (folder / "receiver.py").write_text(program_in(page, "receiver.py"))
    return [installed / "uvicorn", "receiver:app", "--port", PORT]


def go_receiver(folder, page):
    """The standard library alone."""
    (folder / "receiver.go").write_text(program_in(page, "receiver.go"))
    environment = CLEAN_ENVIRONMENT | {"GOCACHE": str(INSTALLED / "go"), "GO111MODULE": "off"}
    for command in ["vet", "receiver.go"], ["build", "-o", "receiver", "receiver.go"]:
        subprocess.run(["go", *command], cwd=folder, env=environment, check=True)
    return [folder / "receiver"]


def main():
    page = (ROOT / "docs" / "receiving.md").read_text()
    secret = {"FILESAFETY_WEBHOOK_SECRET": SECRET}
    languages = [("Node", "npm", node_receiver), ("Python", "python3", python_receiver), ("Go", "go", go_receiver)]
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "FILESAFETY_LISTEN": "127.0.0.1:0", "FILESAFETY_DATA_DIR": f"{folder}/data", "FILESAFETY_API_KEY": KEY,
            "FILESAFETY_ALLOW_NETS": "127.0.0.0/8", "FILESAFETY_WEBHOOK_HTTP": "1", "FILESAFETY_RATE": "off",
        }
        with Program([BINARY, "serve"], folder, **settings, **secret) as service:
            address = service.wait_for(r"listening on (http://[0-9.:]+)", seconds=60)[1]
            for language, tool, prepare in languages:
                if not shutil.which(tool):
                    print(f"{language}: not installed, so its program was not run")
                    continue
                own = pathlib.Path(folder, language)
                own.mkdir()
                command = prepare(own, page)
                check(language, address, lambda: Program(command, own, **secret))


if __name__ == "__main__":
    main()
