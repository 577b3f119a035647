"""Honest PDF files: forms, scripts that check and calculate, links, attachments, outlines, encryption with an empty password."""

import io


def make(folder, count: int) -> None:
    import fpdf
    import pypdf
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen import canvas

    for number in range(count):
        path = folder / f"paper{number}.pdf"
        kind = number % 4
        if kind == 0:
            form(path, number, canvas, A4)
        elif kind == 1:
            scripted(path, number, canvas, pypdf)
        elif kind == 2:
            linked(path, number, fpdf)
        else:
            attached(path, number, canvas, pypdf)


def form(path, number, canvas, size):
    page = canvas.Canvas(str(path), pagesize=size)
    page.drawString(72, 800, f"Application {number}")
    page.acroForm.textfield(name="name", x=72, y=700, width=200, height=20, maxlen=100)
    page.acroForm.checkbox(name="agree", x=72, y=650)
    page.acroForm.choice(name="country", options=["France", "Peru", "Japan"], value="Peru", x=72, y=600, width=120, height=20)
    page.acroForm.radio(name="kind", value="new", x=72, y=560)
    page.acroForm.radio(name="kind", value="old", x=102, y=560, selected=True)
    page.linkURL("https://example.com/help", (72, 780, 200, 795))
    page.bookmarkPage("start")
    page.addOutlineEntry("Start", "start")
    page.showPage()
    page.save()


SCRIPTS = [
    'app.alert("Please fill in all fields that are marked.");',
    'var total = this.getField("total"); if (total) total.value = 0;',
    "this.print({bUI: true, bSilent: false, bShrinkToFit: true});",
    "AFNumber_Format(2, 0, 0, 0, '', true);",
    'event.value = this.getField("a").value * this.getField("b").value;',
    "this.zoom = 100; this.pageNum = 0;",
    'this.submitForm({cURL: "https://example.com/form", cSubmitAs: "FDF"});',
    "if (app.viewerVersion < 8) app.alert('This form needs a newer viewer.');",
]


def scripted(path, number, canvas, pypdf):
    plain = io.BytesIO()
    page = canvas.Canvas(plain)
    page.drawString(72, 800, f"Order {number}")
    page.acroForm.textfield(name="total", x=72, y=700, width=200, height=20)
    page.save()
    writer = pypdf.PdfWriter(clone_from=pypdf.PdfReader(plain))
    # Runs when the document opens.
    writer.add_js(SCRIPTS[number // 4 % len(SCRIPTS)])
    if number % 3 == 0:
        writer.encrypt("", "owner", algorithm="RC4-128")
    writer.write(str(path))


def linked(path, number, fpdf):
    paper = fpdf.FPDF()
    paper.add_page()
    paper.set_font("helvetica", size=12)
    paper.cell(text=f"Report {number}", link="https://example.com/a.exe")
    paper.add_page()
    paper.set_font("helvetica", size=10)
    for line in range(60):
        paper.cell(text=f"Row {line}", new_x="LMARGIN", new_y="NEXT")
    paper.set_title("Report")
    paper.output(str(path))


def attached(path, number, canvas, pypdf):
    plain = io.BytesIO()
    page = canvas.Canvas(plain)
    page.drawString(72, 800, f"Invoice {number}")
    page.save()
    writer = pypdf.PdfWriter(clone_from=pypdf.PdfReader(plain))
    invoice = f"<?xml version='1.0'?><Invoice><ID>{number}</ID><Total>12.50</Total></Invoice>"
    writer.add_attachment("factur-x.xml", invoice.encode())
    writer.add_attachment("terms.txt", b"Payable within thirty days.")
    writer.add_metadata({"/Title": f"Invoice {number}"})
    writer.write(str(path))
