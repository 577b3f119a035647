// Launchers of Linux desktops, which a double click runs.

rule Desktop_Entry_Downloads {
  meta:
    description = "A launcher whose command line downloads something and runs it, or decodes and runs it"
    why = "Launchers start programs that are there; one that brings its program along the network or in its own text replaces one."
    reference = "https://specifications.freedesktop.org/desktop-entry-spec/; https://attack.mitre.org/techniques/T1204/002/"
    kind = "suspicious"
    signature = "Suspicious.Desktop.Downloads"
  strings:
    $entry = "[Desktop Entry]"
    $piped = /\nExec\s*=[^\r\n]*(curl|wget)\s[^\r\n]*\|\s*(sudo\s+)?(\/bin\/|\/usr\/bin\/)?(ba|z|da)?sh\b/
    $saved = /\nExec\s*=[^\r\n]*(curl|wget)\s[^\r\n]*chmod\s+(a?\+x|0?7[0-7]{2})/
    $decoded = /\nExec\s*=[^\r\n]*base64\s+(-d|-D|--decode)[^\r\n]*\|\s*(\/bin\/|\/usr\/bin\/)?(ba|z|da)?sh\b/
  condition:
    $entry in (0..4096) and ($piped or $saved or $decoded) and filesize < 1MB
}

rule Desktop_Entry_Starts_Shell {
  meta:
    description = "a launcher that gives a command line to a shell"
    why = "Many launchers do, so this is only a fact; with the name of a document it is a lure."
    reference = "https://specifications.freedesktop.org/desktop-entry-spec/; https://attack.mitre.org/techniques/T1204/002/"
    fact = "executes"
  strings:
    $entry = "[Desktop Entry]"
    $shell = /\nExec\s*=\s*["']?(\/bin\/|\/usr\/bin\/)?((ba|z|da)?sh|python3?|perl)["']?\s+-(c|e)\s/
  condition:
    $entry in (0..4096) and $shell and filesize < 1MB
}
