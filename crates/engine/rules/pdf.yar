// Documents that reach out of the viewer. Names may be written with #xx for any character (ISO 32000-1, 7.3.5).

rule Pdf_Launches_Interpreter {
  meta:
    description = "A launch action, and an interpreter of commands as what it launches"
    why = "Launch actions alone open companion files of a CD; naming a shell or script host as the target has no honest use."
    reference = "ISO 32000-1, 12.6.4.5; https://attack.mitre.org/techniques/T1204/002/"
    kind = "suspicious"
    signature = "Suspicious.Pdf.LaunchesInterpreter"
  strings:
    // Also the inside of an object stream, which has no header, shows this pair.
    $action = /\/S\s*\/(L|#4[cC])(a|#61)(u|#75)(n|#6[eE])(c|#63)(h|#68)[\s\/>]/
    $target = /\/(F|P|UF|Unix)\s*(<<[^>]*)?\([^)]*(cmd|cmd\.exe|powershell|powershell\.exe|mshta|mshta\.exe|wscript|wscript\.exe|cscript|cscript\.exe|rundll32|rundll32\.exe|regsvr32|regsvr32\.exe|certutil|certutil\.exe|\/bin\/(ba)?sh)[ )\\]/ nocase
  condition:
    $action and $target
}

rule Pdf_Opens_What_It_Carries {
  meta:
    description = "A document that writes out a file which it carries and starts it"
    why = "Attachments are common; a script in the document that saves one and launches it (nLaunch 1 or 2) is a dropper."
    reference = "Acrobat JavaScript API reference, Doc.exportDataObject; https://attack.mitre.org/techniques/T1204/002/"
    kind = "suspicious"
    signature = "Suspicious.Pdf.OpensWhatItCarries"
  strings:
    $header = "%PDF-"
    $carried = /\/(E|#45)mbedded(F|#46)ile/
    $started = /exportDataObject\s*\\?\(\s*\{[^}]+nLaunch\\?["']?\s*:\s*[12]/
  condition:
    $header in (0..1024) and $carried and $started
}

// Scripts of documents are objects of their own; what they do counts for the document.

rule Pdf_Script_Starts_What_The_Document_Carries {
  meta:
    description = "a script that has the viewer open a file which the document carries"
    why = "Portfolios open their parts on a click, so this is only a fact; doing it when the document is opened is another."
    reference = "Acrobat JavaScript API reference, Doc.exportDataObject; https://attack.mitre.org/techniques/T1204/002/"
    fact = "executes"
  strings:
    $header = "%PDF-"
    $started = /exportDataObject\s*\(\s*\{[^}]{0,300}nLaunch["']?\s*:\s*[12]/
  condition:
    $started and not $header in (0..1024) and filesize < 4MB
}

rule Pdf_Script_Fetches_A_Program {
  meta:
    description = "a script that has the viewer fetch a program or a script from the network"
    why = "Documents link to downloads, so this is only a fact; doing it when the document is opened is another."
    reference = "Acrobat JavaScript API reference, app.launchURL; https://attack.mitre.org/techniques/T1105/"
    fact = "fetches"
  strings:
    $launched = /\bapp\.launchURL\s*\(\s*["'](https?|ftp|file):[^"'\r\n]{1,300}\.(exe|scr|com|pif|hta|js|jse|vbs|vbe|wsf|ps1|cmd|bat|msi|lnk|iso|img|jar)(\?[^"'\r\n]{0,100})?["']/ nocase
  condition:
    $launched and filesize < 4MB
}

rule Pdf_Script_Lays_Out_Machine_Code {
  meta:
    description = "a script that fills memory with machine code for a fault of the viewer to jump into"
    why = "Numbers are written with %u in old texts too, so this is only a fact; doing it when the document is opened is another."
    reference = "https://attack.mitre.org/techniques/T1203/"
    fact = "executes"
  strings:
    $code = /unescape\s*\(\s*["'](%u[0-9a-f]{4}){24}/ nocase
    $filled = /\.length\s*<=?\s*(0x[0-9a-f]{3,8}|[0-9]{4,9})/ nocase
  condition:
    all of them and uint16(0) != 0x5A4D and filesize < 4MB
}
