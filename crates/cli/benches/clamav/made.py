"""Signature databases at the scale of the real ones, and files to scan: all made up, the same at each run.

A plain database has digests, patterns and logical signatures of random bytes. A hard one has also what random bytes hide: digests of
sections, patterns of words that the files are written in, short ones, some that fold case, regular expressions, runs of zeros."""
import hashlib, io, os, random, string, zipfile

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
# Of the archive, of 1 KiB each.
MEMBERS = 1000
VOCABULARY = ["".join(random.Random(n).choices(string.ascii_lowercase, k=2 + n % 9)) for n in range(5000)]


class Made:
    """Random content from one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def literal(self, least, most):
        return self.random.randbytes(self.random.randint(least, most)).hex()

    def words(self, least, most):
        return " ".join(self.random.choices(VOCABULARY, k=self.random.randint(least, most)))

    def text(self, length):
        return " ".join(self.random.choices(VOCABULARY, k=length // 5)).encode()[:length]

    def pattern(self):
        literal, number = self.literal, self.random.randint
        form = self.random.random()
        if form < 0.60:
            return literal(20, 60)
        if form < 0.75:
            return literal(10, 20) + "??" * number(1, 4) + literal(8, 20)
        if form < 0.87:
            return literal(10, 20) + "{%d-%d}" % (number(0, 10), number(11, 100)) + literal(8, 20)
        if form < 0.95:
            return literal(10, 20) + "*" + literal(8, 20)
        return literal(8, 16) + f"({literal(2, 2)}|{literal(2, 2)})" + literal(8, 16)

    def text_pattern(self):
        hexed = lambda least, most: self.words(least, most).encode().hex()
        form = self.random.random()
        if form < 0.7:
            return hexed(4, 8)
        if form < 0.9:
            return hexed(2, 4) + "{1-20}" + hexed(2, 4)
        return hexed(2, 3) + "*" + hexed(3, 4)


def database(folder, scale=1.0, hard=False):
    """Writes a folder of signature files, unless a former run has; returns how many signatures they have."""
    if os.path.exists(f"{folder}.count"):
        return int(open(f"{folder}.count").read())
    os.makedirs(folder, exist_ok=True)
    made, count = Made(7), 0

    def lines(name, many, line):
        nonlocal count
        with open(f"{folder}/{name}", "w", buffering=1 << 20) as file:
            for number in range(int(many * scale)):
                file.write(line(number) + "\n")
        count += int(many * scale)

    size = lambda: made.random.randint(1024, 5_000_000)
    with open(f"{folder}/own.hdb", "w") as file:
        file.write(f"{hashlib.md5(EICAR).hexdigest()}:{len(EICAR)}:Own.Test\n")
    lines("many.hsb", 1_000_000, lambda n: f"{made.random.randbytes(32).hex()}:{size()}:Made.Sha256-{n}")
    lines("many.hdb", 3_000_000, lambda n: f"{made.random.randbytes(16).hex()}:{size()}:Made.Md5-{n}")

    def body(n):
        target = made.random.choices([0, 1, 3, 4, 7], [30, 55, 8, 4, 3])[0]
        offset = "*"
        if target == 1:
            offset = made.random.choices(["*", "EP+0", f"EP+{made.random.randint(1, 64)}", "S0+0"], [60, 20, 15, 5])[0]
        return f"Made.Body-{n}:{target}:{offset}:{made.pattern()}"

    def logical(n):
        parts = made.random.randint(2, 6)
        target = made.random.choices([0, 1, 2], [35, 60, 5])[0]
        names = [str(part) for part in range(parts)]
        rule = made.random.choice(["&".join(names), "|".join(names), f"({'|'.join(names)})>1", f"0&({'|'.join(names[1:])})"])
        return f"Made.Logical-{n};Engine:51-255,Target:{target};{rule};" + ";".join(made.literal(8, 30) for _ in names)

    lines("many.ndb", 60_000, body)
    lines("many.ldb", 20_000, logical)
    if hard:
        lines("hard.mdb", 1_500_000, lambda n: f"{made.random.randint(512, 900_000)}:{made.random.randbytes(16).hex()}:Made.Section-{n}")
        lines("hard.hsb", 20_000, lambda n: f"{made.random.randbytes(32).hex()}:*:Made.AnySize-{n}:73")
        lines("hard.ndb", 60_000, lambda n: f"Made.Text-{n}:{made.random.choices([0, 3, 4, 7], [50, 25, 10, 15])[0]}:*:{made.text_pattern()}")
        lines("zeros.ndb", 500, lambda n: f"Made.Zeros-{n}:1:*:{'00' * 24}{made.literal(6, 6)}{'00' * 8}")
        lines("hard.ldb", 10_000, lambda n: hard_logical(made, n))
    with open(f"{folder}.count", "w") as file:
        file.write(str(count + 1))
    return count + 1


def hard_logical(made, number):
    first, second = (made.words(*least).encode().hex() for least in ((3, 5), (2, 3)))
    match number % 4:
        case 0:
            return f"Made.Case-{number};Engine:51-255,Target:0;0&1;{first}::i;{second}::wi"
        case 1:
            entry = f"EP+{made.random.randint(0, 40)}:{made.literal(2, 6)}"
            return f"Made.Short-{number};Engine:51-255,Target:1;0&1&2;0:4d5a;{entry};{made.literal(12, 12)}"
        case 2:
            return f"Made.Wide-{number};Engine:51-255,Target:1;0|1;{first}::wa;{made.literal(16, 16)}"
        case _:
            start, end = made.random.choices(VOCABULARY, k=2)
            return f"Made.Regex-{number};Engine:81-255,Target:0;0&1;{first};0/{start}[a-z ]{{1,9}}{end}zq{number}/i"


def zipped(members, method=zipfile.ZIP_DEFLATED):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return held.getvalue()


def files():
    """By kind, the contents to scan: small ones of mixed sort, text, random bytes, and an archive of small members."""
    made = Made(11)
    programs = [path for path in sorted(os.listdir("/usr/bin"))[:400] if 4096 < os.path.getsize(f"/usr/bin/{path}") < 65536]
    small = []
    for number in range(500):
        length = made.random.randint(4096, 65536)
        match number % 10:
            case 0 | 1 | 2 | 3:
                small.append(made.random.randbytes(length))
            case 4 | 5 | 6:
                small.append(made.text(length))
            case 7:
                lines = (b'<p class="x">%s</p><a href="http://e.org/%d">k</a>' % (made.text(200), n) for n in range(length // 240))
                small.append(b"<html><body>" + b"".join(lines) + b"</body></html>")
            case 8 if programs:
                with open(f"/usr/bin/{made.random.choice(programs)}", "rb") as file:
                    small.append(file.read() + made.random.randbytes(8))
            case _:
                small.append(zipped([("a.txt", made.text(length)), ("b.bin", made.random.randbytes(length // 4))]))
    members = [(f"{n}.bin", made.random.randbytes(1024)) for n in range(MEMBERS)]
    return {
        "small": small,
        "text": [made.text(1 << 20) for _ in range(10)],
        "random": [made.random.randbytes(10 << 20) for _ in range(6)],
        "objects": [zipped(members, zipfile.ZIP_STORED)],
    }
