"""Honest Office files: reports with charts, forms, links, tables, and macros of the kinds that offices write."""

import io
import random
import struct
import zipfile

MACROS = {
    "format": 'Sub FormatReport()\r\n    Range("A1:D1").Font.Bold = True\r\n    Columns("A:D").AutoFit\r\nEnd Sub\r\n',
    "open": 'Private Sub Workbook_Open()\r\n    Sheets("Start").Activate\r\n    Application.StatusBar = "Welcome"\r\nEnd Sub\r\n',
    "auto": 'Sub Auto_Open()\r\n    MsgBox "Remember to save a copy first."\r\nEnd Sub\r\n',
    "document": "Private Sub Document_Open()\r\n    ActiveDocument.Fields.Update\r\nEnd Sub\r\n",
    "sum": "Function Vat(net As Double) As Double\r\n    Vat = Round(net * 0.19, 2)\r\nEnd Function\r\n",
    "dialog": "Sub ShowForm()\r\n    UserForm1.Show vbModeless\r\nEnd Sub\r\n",
    "calculator": 'Sub OpenCalculator()\r\n    Shell "calc.exe", vbNormalFocus\r\nEnd Sub\r\n',
    "rates": 'Sub LoadRates()\r\n    Dim h As Object\r\n    Set h = CreateObject("MSXML2.XMLHTTP")\r\n'
    '    h.Open "GET", "https://rates.example.com/today.csv", False\r\n    h.send\r\n    Range("B2").Value = h.responseText\r\nEnd Sub\r\n',
    "export": 'Sub ExportCsv()\r\n    Open ThisWorkbook.Path & "\\export.csv" For Output As #1\r\n    Print #1, Range("A1").Value\r\n    Close #1\r\nEnd Sub\r\n',
    "lines": 'Sub Join()\r\n    s = s & Chr(13) & Chr(10) & "Total: " & Chr(34) & t & Chr(34)\r\nEnd Sub\r\n',
    "timer": 'Sub Auto_Close()\r\n    Application.OnTime Now + TimeValue("00:05:00"), "FormatReport"\r\nEnd Sub\r\n',
}
# Sets of macros that one workbook has. None both starts by itself and reaches out.
SETS = [
    ["format"], ["open"], ["open", "format", "sum"], ["auto"], ["sum", "dialog"], ["calculator"], ["rates"], ["export", "format"],
    ["rates", "calculator"], ["lines", "sum"], ["auto", "lines"], ["timer", "format"], ["open", "sum", "lines", "dialog"],
]


END, NONE, TABLE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def compressed(data: bytes) -> bytes:
    """[MS-OVBA] 2.4.1, with literals alone."""
    out = bytearray(b"\x01")
    for start in range(0, len(data), 3_500):
        chunk = bytearray()
        piece = data[start : start + 3_500]
        for at in range(0, len(piece), 8):
            chunk += b"\0" + piece[at : at + 8]
        out += struct.pack("<H", 0xB000 | (len(chunk) - 1)) + chunk
    return bytes(out)


def record(kind: int, data: bytes) -> bytes:
    return struct.pack("<HI", kind, len(data)) + data


def vba_project(modules: dict) -> bytes:
    """A project whose modules have their source alone, as [MS-OVBA] 2.3.4 lays it out."""
    wide = lambda text: text.encode("utf-16-le")
    head = record(1, struct.pack("<I", 3)) + record(2, struct.pack("<I", 0x409)) + record(0x14, struct.pack("<I", 0x409))
    head += record(3, struct.pack("<H", 1252)) + record(4, b"VBAProject") + record(5, b"") + record(0x40, b"") + record(6, b"") + record(0x3D, b"")
    head += record(7, struct.pack("<I", 0)) + record(8, struct.pack("<I", 0)) + struct.pack("<HIIH", 9, 4, 1, 1) + record(0xC, b"") + record(0x3C, b"")
    head += record(0xF, struct.pack("<H", len(modules))) + record(0x13, struct.pack("<H", 0xFFFF))
    streams = {}
    for name, source in modules.items():
        text = f'Attribute VB_Name = "{name}"\r\n{source}'
        streams[name] = compressed(text.encode("cp1252"))
        head += record(0x19, name.encode()) + record(0x47, wide(name)) + record(0x1A, name.encode()) + record(0x32, wide(name))
        head += record(0x1C, b"") + record(0x48, b"") + record(0x31, struct.pack("<I", 0)) + record(0x1E, struct.pack("<I", 0))
        head += record(0x2C, struct.pack("<H", 0xFFFF)) + record(0x21, b"") + record(0x2B, b"")
    head += record(0x10, b"")
    project = "".join(f"Module={name}\r\n" for name in modules) + 'Name="VBAProject"\r\n'
    return compound({"PROJECT": project.encode(), "VBA": {"dir": compressed(head), "_VBA_PROJECT": b"\xcc\x61\xff\xff\0\0\0", **streams}})


def compound(tree: dict) -> bytes:
    """[MS-CFB] version 3. Siblings are a chain to the right, in the order of names, which is a tree as well."""
    entries = [["Root Entry", 5, [], b""]]

    def add(children: dict) -> list:
        places = []
        for name, content in sorted(children.items(), key=lambda child: (len(child[0]), child[0].upper())):
            folder = isinstance(content, dict)
            entry = [name, 1 if folder else 2, [], b"" if folder else content]
            places.append(len(entries))
            entries.append(entry)
            if folder:
                entry[2] = add(content)
        return places

    entries[0][2] = add(tree)
    sectors, chain = [], []

    def store(data: bytes, size: int, sectors: list, chain: list) -> int:
        """Appends sectors of this size and their chain; the first one's number."""
        start = len(sectors)
        for at in range(0, len(data), size):
            sectors.append(data[at : at + size].ljust(size, b"\0"))
            chain.append(len(sectors))
        chain[-1] = END
        return start

    small, small_chain, starts = [], [], {}
    for place, entry in enumerate(entries):
        if entry[3]:
            is_small = len(entry[3]) < 4_096
            starts[place] = store(entry[3], 64, small, small_chain) if is_small else store(entry[3], 512, sectors, chain)
    entries[0][3] = b"".join(small)
    starts[0] = store(entries[0][3], 512, sectors, chain)
    small_table = store(b"".join(struct.pack("<I", value) for value in small_chain).ljust(-(-len(small_chain) // 128) * 512, b"\xff"), 512, sectors, chain)
    next_of = {one: other for entry in entries for one, other in zip(entry[2], entry[2][1:])}
    directory = b""
    for place, (name, kind, children, data) in enumerate(entries):
        raw = name.encode("utf-16-le") + b"\0\0"
        links = (NONE, next_of.get(place, NONE), children[0] if children else NONE)
        directory += raw.ljust(64, b"\0") + struct.pack("<HBBIII", len(raw), kind, 1, *links) + b"\0" * 36
        directory += struct.pack("<IQ", starts.get(place, 0), len(data))
    first_entry = store(directory.ljust(-(-len(directory) // 512) * 512, b"\0"), 512, sectors, chain)
    tables = 1
    while tables * 128 < len(sectors) + tables:
        tables += 1
    first_table = len(sectors)
    chain += [TABLE] * tables
    table = b"".join(struct.pack("<I", value) for value in chain).ljust(tables * 512, b"\xff")
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16 + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + b"\0" * 6
    header += struct.pack("<IIIIIIIII", 0, tables, first_entry, 0, 4_096, small_table, -(-len(small_chain) // 128), END, 0)
    header += b"".join(struct.pack("<I", first_table + index) for index in range(tables)).ljust(436, b"\xff")
    return header + b"".join(sectors) + table


def make(folder, count: int, example_vba: bytes) -> None:
    import docx
    import openpyxl
    import pptx
    import xlsxwriter

    dice = random.Random(4)
    for number in range(count):
        kind = number % 5
        if kind in (0, 1):
            workbook(folder / f"book{number}.xls{'m' if kind == 0 else 'x'}", number, dice, xlsxwriter, example_vba if kind == 0 else None)
        elif kind == 2:
            document(folder / f"letter{number}.docx", number, docx)
        elif kind == 3:
            slides(folder / f"talk{number}.pptx", number, pptx)
        elif number % 2:
            sheet(folder / f"table{number}.xlsx", number, openpyxl)
        else:
            with_macros(folder / f"macro{number}.docm", number, docx)


def workbook(path, number, dice, xlsxwriter, example_vba):
    book = xlsxwriter.Workbook(path)
    page = book.add_worksheet("Start")
    for row in range(20 + number % 50):
        page.write_row(row, 0, [f"Item {row}", dice.randint(1, 900), dice.random(), "=B1*C1"])
    page.write_url("F1", f"https://example.com/report/{number}", string="Report")
    page.write_url("F2", "external:other.xlsx#Sheet1!A1")
    page.write_url("F3", "mailto:office@example.com")
    page.data_validation("G1", {"validate": "list", "source": ["open", "done"]})
    page.insert_textbox("H2", "Please fill in the yellow fields.")
    page.write_comment("A1", "Checked by accounting")
    chart = book.add_chart({"type": "column"})
    chart.add_series({"values": "=Start!$B$1:$B$10"})
    page.insert_chart("J5", chart)
    if number % 3 == 0:
        page.protect("password")
    if number % 4 == 0:
        book.add_worksheet("Lists").hide()
        book.define_name("Rates", "=Lists!$A$1:$A$9")
    if example_vba:
        names = SETS[number // 5 % len(SETS)]
        project = example_vba if number % 35 == 0 else vba_project({"ThisWorkbook": MACROS[names[0]], **{f"Module{at}": MACROS[name] for at, name in enumerate(names[1:], 1)}})
        book.add_vba_project(io.BytesIO(project), is_stream=True)
        page.insert_button("K1", {"macro": "FormatReport", "caption": "Format"})
    book.close()


def sheet(path, number, openpyxl):
    book = openpyxl.Workbook()
    page = book.active
    page["A1"] = '=HYPERLINK("https://example.com/help", "Help")'
    page["A2"].hyperlink = f"https://example.com/{number}"
    for row in range(3, 60):
        page.append([row, f"=SUM(A3:A{row})", "text" * (number % 7)])
    book.save(path)


def document(path, number, docx):
    from docx.oxml.ns import qn
    from docx.oxml import OxmlElement

    letter = docx.Document()
    letter.add_heading(f"Offer {number}", 0)
    paragraph = letter.add_paragraph("See our terms at https://example.com/terms. ")
    link = OxmlElement("w:hyperlink")
    target = letter.part.relate_to("https://example.com/a.exe", "http://schemas.openxmlformats.org/officeDocument/2006/relationships/hyperlink", is_external=True)
    link.set(qn("r:id"), target)
    paragraph._p.append(link)
    # A picture that stays where it is on the net.
    letter.part.relate_to("https://example.com/logo.png", "http://schemas.openxmlformats.org/officeDocument/2006/relationships/image", is_external=True)
    field = OxmlElement("w:fldSimple")
    field.set(qn("w:instr"), ' DATE \\@ "d MMMM yyyy" ' if number % 2 else " TOC \\o ")
    paragraph._p.append(field)
    table = letter.add_table(rows=3, cols=3)
    table.cell(0, 0).text = "Amount"
    letter.save(path)


def slides(path, number, pptx):
    talk = pptx.Presentation()
    slide = talk.slides.add_slide(talk.slide_layouts[1])
    slide.shapes.title.text = f"Quarter {number}"
    run = slide.placeholders[1].text_frame.paragraphs[0].add_run()
    run.text = "Link"
    run.hyperlink.address = "https://example.com/slides"
    talk.save(path)


def with_macros(path, number, docx):
    """A letter with macros: python-docx writes none, so that the part is added to the finished file."""
    plain = io.BytesIO()
    document(plain, number, docx)
    names = SETS[number // 10 % len(SETS)]
    project = vba_project({"ThisDocument": MACROS["document"] if number % 3 else MACROS[names[0]], **{f"Module{at}": MACROS[name] for at, name in enumerate(names[1:], 1) if number % 3 == 0}})
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            data = source.read(info)
            if info.filename == "[Content_Types].xml":
                data = data.replace(b"wordprocessingml.document.main+xml", b"wordprocessingml.document.main+xml").replace(
                    b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml", b"application/vnd.ms-word.document.macroEnabled.main+xml"
                ).replace(b"</Types>", b'<Default Extension="bin" ContentType="application/vnd.ms-office.vbaProject"/></Types>')
            if info.filename == "word/_rels/document.xml.rels":
                data = data.replace(b"</Relationships>", b'<Relationship Id="rIdVba" Type="http://schemas.microsoft.com/office/2006/relationships/vbaProject" Target="vbaProject.bin"/></Relationships>')
            target.writestr(info.filename, data)
        target.writestr("word/vbaProject.bin", project)
