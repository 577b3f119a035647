"""Honest mails: plain and HTML, pictures inside and elsewhere, attachments, calendars, forwarded mails, newsletters."""

import io
import zipfile
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
import datetime

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000" "1f15c4890000000d49444154789c6360f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
NEWSLETTER = """<html><head><style>a {{ color: #036 }}</style></head><body><h1>News {number}</h1>
<img src="https://cdn.example.com/head.png" width="600"><p>Read <a href="https://example.com/news?id={number}">the rest</a>.
<a href="https://example.com/setup.exe">Download</a> or <a href="mailto:news@example.com">write to us</a>.</p>
<table><tr><td>&nbsp;</td><td>1&nbsp;234</td></tr></table></body></html>"""
INVITATION = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:{number}@example.com\r\nDTSTART:20260105T090000Z\r\nSUMMARY:Meeting\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"


def make(folder, count: int, office_files: list, pdf_files: list) -> None:
    for number in range(count):
        mail = headed(number)
        kind = number % 8
        if kind == 0:
            mail.set_content(f"Dear all,\n\nthe meeting is at noon. Agenda: https://example.com/agenda/{number}\n\n-- \nMe\n")
        elif kind == 1:
            mail.set_content("Read this in a browser.")
            mail.add_alternative(NEWSLETTER.format(number=number), subtype="html")
        elif kind == 2:
            mail.set_content("See the logo.")
            mail.add_alternative('<p>Hello <img src="cid:logo"></p>', subtype="html")
            mail.get_payload()[1].add_related(PIXEL, "image", "png", cid="<logo>")
        elif kind == 3:
            attach(mail, pdf_files[number % len(pdf_files)], "application", "pdf")
        elif kind == 4:
            attach(mail, office_files[number % len(office_files)], "application", "octet-stream")
        elif kind == 5:
            mail.set_content("The files.")
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("notes.txt", "text\n" * number)
                archive.writestr("data/table.csv", "a;b\n1;2\n")
            mail.add_attachment(packed.getvalue(), maintype="application", subtype="zip", filename="files.zip")
        elif kind == 6:
            mail.set_content("An invitation.")
            mail.add_alternative(INVITATION.format(number=number).encode(), maintype="text", subtype="calendar")
        else:
            inner = headed(number + 10_000)
            inner.set_content("The mail that is forwarded, with umlauts: äöü €\n", cte="quoted-printable")
            mail.set_content("See below.", charset="iso-8859-1", cte="base64")
            mail.add_attachment(inner)
        (folder / f"mail{number}.eml").write_bytes(mail.as_bytes(policy=SMTP))


def headed(number: int) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "Some Body <some.body@example.com>"
    mail["To"] = "office@example.org, Jörg <joerg@example.org>"
    mail["Subject"] = f"Grüße {number}" if number % 2 else f"Meeting {number}"
    mail["Date"] = format_datetime(datetime.datetime(2026, 1, 1 + number % 28, tzinfo=datetime.timezone.utc))
    mail["Message-ID"] = make_msgid(domain="example.com")
    return mail


def attach(mail, path, maintype: str, subtype: str) -> None:
    mail.set_content("Please find the file attached.")
    mail.add_attachment(path.read_bytes(), maintype=maintype, subtype=subtype, filename=path.name)
