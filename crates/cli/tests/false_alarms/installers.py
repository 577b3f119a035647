"""Honest installers and self-extractors, by the tools that are there; and what of packages Python itself can write."""

import io
import os
import shutil
import subprocess
import tarfile
import zipapp
import zipfile

NSIS = r"""
Name "Editor {number}"
OutFile "{out}"
InstallDir "$PROGRAMFILES\Editor"
RequestExecutionLevel user
Page directory
Page instfiles
Section
  SetOutPath "$INSTDIR"
  File "{payload}/readme.txt"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  CreateShortCut "$SMPROGRAMS\Editor.lnk" "$INSTDIR\readme.txt"
  Exec '"$WINDIR\notepad.exe" "$INSTDIR\readme.txt"'
SectionEnd
Section "Uninstall"
  Delete "$INSTDIR\readme.txt"
SectionEnd
"""


def make(folder, count: int, scratch) -> list:
    """What could not be made is told."""
    makers = [("makeself", archive_script), ("makensis", windows_setup), ("7z", windows_archive), ("dpkg-deb", debian_package), (None, wheel), (None, python_app), (None, shell_installer), (None, source_archive)]
    missing = sorted({tool for tool, _ in makers if tool and not shutil.which(tool)})
    usable = [maker for tool, maker in makers if not tool or tool not in missing]
    refused = set()
    for number in range(count):
        payload = scratch / f"payload{number}"
        shutil.rmtree(payload, ignore_errors=True)
        payload.mkdir(parents=True)
        (payload / "readme.txt").write_text(f"Editor {number}\n" * (number + 1))
        (payload / "install.sh").write_text('#!/bin/sh\nset -e\nmkdir -p "$HOME/.editor"\ncp readme.txt "$HOME/.editor/"\necho done\n')
        os.chmod(payload / "install.sh", 0o755)
        shutil.copy("/bin/true", payload / "editor")
        maker = usable[number % len(usable)]
        if maker(folder, number, payload) is False:
            refused.add(maker.__name__)
            wheel(folder, number, payload)
    return missing + sorted(refused)


def quietly(*command, **options) -> bool:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options).returncode == 0


def archive_script(folder, number, payload):
    packing = ["--gzip", "--bzip2", "--xz", "--nocomp"][number // 8 % 4]
    return quietly("makeself", packing, "--quiet", str(payload), str(folder / f"editor{number}.run"), "Editor", "./install.sh")


def windows_setup(folder, number, payload):
    script = payload / "setup.nsi"
    compressor = ["zlib", "lzma", "bzip2"][number // 8 % 3]
    script.write_text(f"SetCompressor {compressor}\n" + NSIS.format(number=number, out=folder / f"editor-{number}-setup.exe", payload=payload))
    return quietly("makensis", "-V1", str(script))


def windows_archive(folder, number, payload):
    modules = [path for path in ("/usr/lib/p7zip/7z.sfx", "/usr/lib/p7zip/7zCon.sfx", "/usr/lib/7zip/7z.sfx", "/usr/lib/7zip/7zCon.sfx") if os.path.exists(path)]
    if modules:
        return quietly("7z", "a", f"-sfx{modules[number % len(modules)]}", str(folder / f"editor{number}.exe"), ".", cwd=payload)
    return quietly("7z", "a", str(folder / f"editor{number}.7z"), ".", cwd=payload)


def debian_package(folder, number, payload):
    root = payload / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "usr/bin").mkdir(parents=True)
    shutil.copy(payload / "editor", root / "usr/bin/editor")
    (root / "DEBIAN/control").write_text(f"Package: editor\nVersion: 1.{number}\nArchitecture: amd64\nMaintainer: A <a@example.com>\nDescription: an editor\n")
    (root / "DEBIAN/postinst").write_text('#!/bin/sh\nset -e\nif [ "$1" = configure ]; then update-desktop-database || true; fi\n')
    os.chmod(root / "DEBIAN/postinst", 0o755)
    packing = ["xz", "gzip", "zstd"][number // 8 % 3]
    return quietly("dpkg-deb", f"-Z{packing}", "--build", str(root), str(folder / f"editor_1.{number}_amd64.deb"))


def wheel(folder, number, payload):
    with zipfile.ZipFile(folder / f"editor-1.{number}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("editor/__init__.py", "import base64\nICON = base64.b64decode('" + "iVBORw0KGgo" * 40 + "')\n")
        archive.writestr("editor/run.py", "import subprocess\n\ndef run(command):\n    return subprocess.run(command, shell=True)\n")
        archive.writestr(f"editor-1.{number}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: editor\nVersion: 1.{number}\n")
        archive.writestr(f"editor-1.{number}.dist-info/RECORD", "")


def python_app(folder, number, payload):
    source = payload / "app"
    source.mkdir()
    (source / "__main__.py").write_text("import sys\nprint('editor', sys.argv)\n")
    zipapp.create_archive(source, folder / f"editor{number}.pyz", interpreter="/usr/bin/env python3", compressed=True)


def shell_installer(folder, number, payload):
    """A script with its archive behind it, as vendors of Unix programs make by hand."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(payload / "readme.txt", "readme.txt")
        archive.add(payload / "editor", "bin/editor")
    script = "#!/bin/sh\n# Installs the editor.\nset -e\ndir=${1:-$HOME/editor}\nmkdir -p \"$dir\"\nline=$(awk '/^__ARCHIVE__/ {print NR + 1; exit}' \"$0\")\ntail -n +\"$line\" \"$0\" | tar xz -C \"$dir\"\ncurl -fsSL https://example.com/keys.asc > \"$dir/keys.asc\" || true\nexit 0\n__ARCHIVE__\n"
    (folder / f"install-editor-{number}.sh").write_bytes(script.encode() + packed.getvalue())


def source_archive(folder, number, payload):
    with tarfile.open(folder / f"editor-1.{number}.tar.xz", "w:xz") as archive:
        archive.add(payload, f"editor-1.{number}")
