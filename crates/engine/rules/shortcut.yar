// Windows shortcuts that carry a program in their arguments.

rule Shortcut_Downloads {
  meta:
    description = "A shortcut that starts an interpreter and makes it download or decode what it runs"
    why = "Shortcuts to shells exist; one that names an interpreter and also a download or an encoded command replaces a program."
    reference = "[MS-SHLLINK] 2.1; https://attack.mitre.org/techniques/T1204/002/; https://attack.mitre.org/techniques/T1218/005/"
    kind = "suspicious"
    signature = "Suspicious.Lnk.Downloads"
  strings:
    $interpreter = /(powershell|pwsh|cmd|mshta|wscript|cscript|rundll32|regsvr32)(\.exe)?[\s"\x00]/ ascii wide nocase
    $download_1 = /(\.DownloadString|\.DownloadFile|\.DownloadData|Invoke-WebRequest|Invoke-RestMethod|Start-BitsTransfer)/ ascii wide nocase
    $download_2 = /(curl|certutil|bitsadmin|wget|iwr|irm)(\.exe)?"?\s+[^\x00\r\n]*https?:\/\// ascii wide nocase
    $download_3 = /mshta(\.exe)?"?\s+["']?(https?:\/\/|javascript:|vbscript:)/ ascii wide nocase
    $download_4 = /@SSL(@[0-9]{2,5})?\\/ ascii wide nocase
    $encoded_1 = /[\/-]enc[a-z]* +["']?[A-Za-z0-9+\/]{24}/ ascii wide nocase
    $encoded_2 = / [\/-]ec? +["']?[A-Za-z0-9+\/]{24}/ ascii wide nocase
  condition:
    uint32(0) == 0x0000004C and uint32(4) == 0x00021401 and uint32(8) == 0 and $interpreter and
    (any of ($download_*) or any of ($encoded_*))
}

rule Shortcut_Hides_Its_Arguments {
  meta:
    description = "A shortcut that starts an interpreter, its command pushed out of sight by blanks"
    why = "Shortcuts to shells exist; the properties window shows 260 characters, and only who hides a command fills them with blanks."
    reference = "[MS-SHLLINK] 2.4; https://attack.mitre.org/techniques/T1027/012/; ZDI-CAN-25373"
    kind = "suspicious"
    signature = "Suspicious.Lnk.HidesArguments"
  strings:
    $interpreter = /(powershell|pwsh|cmd|mshta|wscript|cscript|rundll32|regsvr32|forfiles|conhost)(\.exe)?[\s"\x00]/ ascii wide nocase
    $spaces = "                                " wide
    $tabs = "\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t" wide
    $lines = "\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r" wide
    $feeds = "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n" wide
  condition:
    uint32(0) == 0x0000004C and uint32(4) == 0x00021401 and uint32(8) == 0 and $interpreter and
    ($spaces or $tabs or $lines or $feeds)
}

rule Shortcut_Starts_Interpreter {
  meta:
    description = "a shortcut to an interpreter of commands"
    why = "Every Windows has such shortcuts to its shells, so this is only a fact; with the name of a document it is a lure."
    reference = "[MS-SHLLINK] 2.1; https://attack.mitre.org/techniques/T1204/002/"
    fact = "executes"
  strings:
    $interpreter = /\b(powershell|pwsh|cmd|mshta|wscript|cscript|rundll32|regsvr32|forfiles|conhost)(\.exe)?[\s"\x00]/ ascii wide nocase
  condition:
    uint32(0) == 0x0000004C and uint32(4) == 0x00021401 and uint32(8) == 0 and $interpreter
}
