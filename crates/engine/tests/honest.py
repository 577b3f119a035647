#!/usr/bin/env python3
"""Writes honest mails and PDF documents, none of which may be called anything but clean, and completely examined.

    honest.py FOLDER [COUNT [SEED]]

Mails come from Python's own library. Documents are written here, with scripts and forms as authors of forms use them; with reportlab and
pypdf installed, theirs are added.
"""

import base64
import email.charset
import email.encoders
import email.generator
import email.message
import email.mime.application
import email.mime.image
import email.mime.message
import email.mime.multipart
import email.mime.text
import email.policy
import email.utils
import gzip
import io
import mailbox
import os
import pathlib
import random
import struct
import sys
import tarfile
import zipfile
import zlib

WORDS = "report offer invoice meeting lunch draft minutes budget photo travel plan café Grüße 報告 from begin end -- -----".split()


def text(rng, lines):
    return "\n".join(" ".join(rng.choices(WORDS, k=rng.randint(0, 12))) for _ in range(lines)) + "\n"


def png(rng):
    width, height = rng.randint(1, 40), rng.randint(1, 40)
    rows = b"".join(b"\0" + rng.randbytes(3 * width) for _ in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def archive(rng):
    out = io.BytesIO()
    if rng.random() < 0.5:
        with zipfile.ZipFile(out, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as file:
            for index in range(rng.randint(0, 4)):
                file.writestr(f"{index}.txt", text(rng, 20))
    else:
        with tarfile.open(fileobj=out, mode=rng.choice(["w", "w:gz", "w:bz2", "w:xz"])) as file:
            for index in range(rng.randint(1, 4)):
                content = text(rng, 20).encode()
                entry = tarfile.TarInfo(f"{index}.txt")
                entry.size = len(content)
                file.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def page(rng):
    picture = base64.b64encode(png(rng)).decode()
    return (
        f"<!DOCTYPE html><html><head><style>p {{ color: #333 }}</style><script>var key = '{base64.b64encode(rng.randbytes(90)).decode()}';"
        f" document.getElementById('a').onclick = function () {{ return 1 < 2; }};</script></head><body><p>{text(rng, 5)}</p>"
        f'<img src="data:image/png;base64,{picture}"><a href="https://example.com/?a=1&amp;b=2">more</a></body></html>'
    )


def calendar(_rng):
    return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nSUMMARY:lunch\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"


def attach(rng, message, depth):
    name = rng.choice(["a file.bin", "Übersicht.dat", "b.zip", "x" * 120 + ".dat", "日本.txt", 'qu"ote.dat'])
    kind = rng.randrange(7)
    if kind == 0:
        message.add_attachment(archive(rng), maintype="application", subtype="octet-stream", filename=name)
    elif kind == 1:
        message.add_attachment(png(rng), maintype="image", subtype="png", filename="p.png")
    elif kind == 2:
        message.add_attachment(page(rng), subtype="html", filename="p.html")
    elif kind == 3:
        message.add_attachment(calendar(rng), subtype="calendar", filename="c.ics")
    elif kind == 4 and depth < 3:
        message.add_attachment(mail(rng, depth + 1))
    elif kind == 5:
        message.add_attachment(document(rng), maintype="application", subtype="pdf", filename="d.pdf")
    else:
        message.add_attachment(text(rng, 30), filename="t.txt", cte=rng.choice(["base64", "quoted-printable", "8bit"]))


def mail(rng, depth=0):
    message = email.message.EmailMessage()
    message["From"] = "Änne <a@example.com>"
    message["To"] = "b@example.com"
    message["Subject"] = text(rng, 1).strip() or "hello"
    message["Date"] = email.utils.formatdate(rng.randint(0, 2**31))
    message["Message-ID"] = f"<{rng.randint(0, 2**60)}@example.com>"
    message.set_content(text(rng, rng.randint(0, 30)), cte=rng.choice(["quoted-printable", "base64", "8bit"]))
    if rng.random() < 0.6:
        message.add_alternative(page(rng), subtype="html", cte=rng.choice(["quoted-printable", "base64"]))
        if rng.random() < 0.5:
            message.get_payload()[-1].add_related(png(rng), "image", "png", cid="<picture>")
    for _ in range(rng.randint(0, 4)):
        attach(rng, message, depth)
    return message


def old_mail(rng):
    """As the older part of the library writes it: other folding, other boundaries, uuencoded text."""
    message = email.mime.multipart.MIMEMultipart(rng.choice(["mixed", "digest", "parallel", "report"]))
    message["From"], message["Subject"] = "a@example.com", "old"
    if message.get_content_subtype() == "digest":
        for _ in range(3):
            message.attach(email.mime.message.MIMEMessage(email.mime.text.MIMEText(text(rng, 3), "plain", "utf-8")))
    else:
        message.attach(email.mime.text.MIMEText(text(rng, 5), "plain", "utf-8"))
        part = email.mime.application.MIMEApplication(archive(rng), Name="a.bin")
        message.attach(part)
    message.preamble, message.epilogue = "This is MIME.", "\n-- \nA list\n"
    return message


def write_mail(rng, path, index):
    if index % 5 == 4:
        return path.write_bytes(old_mail(rng).as_bytes())
    if index % 20 == 3:
        path.unlink(missing_ok=True)
        box = mailbox.mbox(path)
        for _ in range(3):
            box.add(mail(rng))
        box.close()
        return None
    policy = rng.choice([email.policy.default, email.policy.SMTP, email.policy.SMTPUTF8])
    return path.write_bytes(mail(rng).as_bytes(policy=policy))


SCRIPTS = [
    "app.alert('Thank you.');",
    "var a = this.getField('a').value; event.value = a * 1.19;",
    "if (event.value < 0) { app.beep(); event.rc = false; }",
    "AFNumber_Format(2, 0, 0, 0, '', true); AFNumber_Keystroke(2, 0, 0, 0, '', true);",
    "this.print({bUI: true, bSilent: false});",
    "util.printd('yyyy-mm-dd', new Date());",
]


def string(rng, value):
    kind = rng.randrange(3)
    if kind == 0:
        return "(" + value.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") + ")"
    if kind == 1:
        return "<" + value.encode("latin-1", "replace").hex() + ">"
    return "<FEFF" + value.encode("utf-16-be").hex() + ">"


def document(rng):
    """A document with a form, scripts, links and perhaps an attachment."""
    objects = []

    def add(value, data=None):
        if data is None:
            objects.append(value.encode("latin-1"))
        else:
            packed = zlib.compress(data) if rng.random() < 0.7 else None
            filters = "/Filter /FlateDecode " if packed is not None else ""
            stream = data if packed is None else packed
            objects.append(f"<< {value} {filters}/Length {len(stream)} >>\nstream\n".encode() + stream + b"\nendstream")
        return len(objects)

    add("")  # the catalog
    add("")  # the pages
    script = rng.choice(SCRIPTS)
    action = f"<< /S /JavaScript /JS {string(rng, script)} >>"
    if rng.random() < 0.3:
        action = f"<< /S /JavaScript /JS {add('', script.encode())} 0 R >>"
    fields = []
    for index in range(rng.randint(1, 6)):
        extra = rng.choice(["", f"/AA << /K {action} /C << /S /JavaScript /JS {string(rng, rng.choice(SCRIPTS))} >> >>", f"/A {action}"])
        fields.append(add(f"<< /Type /Annot /Subtype /Widget /FT /Tx /T {string(rng, f'field {index}')} /Rect [0 0 9 9] {extra} >>"))
    links = [
        add(f"<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /A << /S /URI /URI {string(rng, 'https://example.com/a')} >> >>"),
        add("<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /A << /S /SubmitForm /F << /FS /URL /F (https://example.com/f) >> >> >>"),
        add("<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /A << /S /GoToR /F (other.pdf) /D [0 /Fit] >> >>"),
    ]
    content = add("", f"BT /F1 12 Tf ({'x' * rng.randint(1, 200)}) Tj ET".encode())
    annotations = " ".join(f"{number} 0 R" for number in fields + rng.sample(links, rng.randint(0, 3)))
    sheet = add(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents {content} 0 R /Annots [{annotations}] >>")
    names = ""
    if rng.random() < 0.4:
        file = add("/Type /EmbeddedFile", archive(rng))
        spec = add(f"<< /Type /Filespec /F (data.bin) /UF {string(rng, 'data.bin')} /EF << /F {file} 0 R >> >>")
        names += f"/EmbeddedFiles << /Names [(data.bin) {spec} 0 R] >> "
    if rng.random() < 0.5:
        names += f"/JavaScript << /Names [(start) {action}] >> "
    opened = rng.choice(["", f"/OpenAction {action}", f"/OpenAction [{sheet} 0 R /Fit]", f"/AA << /WC {action} >>"])
    form = " ".join(f"{number} 0 R" for number in fields)
    objects[0] = f"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [{form}] >> /Names << {names} >> {opened} >>".encode("latin-1")
    objects[1] = f"<< /Type /Pages /Kids [{sheet} 0 R] /Count 1 >>".encode()
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode() + b"".join(b"%010d 00000 n \n" % place for place in places)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def by_libraries(rng):
    """A form by reportlab, rewritten by pypdf with a script; None without them."""
    try:
        from pypdf import PdfReader, PdfWriter
        from reportlab.pdfgen import canvas
    except ImportError:
        return None
    out = io.BytesIO()
    sheet = canvas.Canvas(out)
    sheet.drawString(10, 10, "a form")
    for index in range(rng.randint(1, 5)):
        sheet.acroForm.textfield(name=f"t{index}", value="x", x=10, y=20 * index + 40)
        sheet.acroForm.checkbox(name=f"c{index}", x=200, y=20 * index + 40)
    sheet.linkURL("https://example.com/", (0, 0, 9, 9))
    sheet.save()
    writer = PdfWriter()
    for part in PdfReader(io.BytesIO(out.getvalue())).pages:
        writer.add_page(part)
    writer.add_js(rng.choice(SCRIPTS))
    if rng.random() < 0.4:
        writer.add_attachment("a.bin", archive(rng))
    if rng.random() < 0.3:
        writer.encrypt("", "owner", algorithm=rng.choice(["RC4-128", "RC4-40"]))
    if rng.random() < 0.5:
        writer.compress_identical_objects()
    rewritten = io.BytesIO()
    writer.write(rewritten)
    return rewritten.getvalue()


def main():
    folder = pathlib.Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    os.makedirs(folder, exist_ok=True)
    rng = random.Random(seed)
    for index in range(count):
        write_mail(rng, folder / f"{index:04}.eml", index)
        made = by_libraries(rng) if index % 2 else None
        (folder / f"{index:04}.pdf").write_bytes(made or document(rng))
        if index % 4 == 0:
            (folder / f"{index:04}.html").write_text(page(rng))
    with gzip.open(folder / "all.mbox.gz", "wb") as box:
        box.write(b"".join(b"From a@b Mon Jan  1 00:00:00 2001\n" + mail(rng).as_bytes() + b"\n" for _ in range(5)))


if __name__ == "__main__":
    main()
