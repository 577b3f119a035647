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
