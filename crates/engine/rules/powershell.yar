// PowerShell that hides what it runs.

rule PowerShell_Hidden_Download {
  meta:
    description = "One command line that starts PowerShell without a window and downloads, or runs an encoded command"
    why = "Installers download and schedulers hide windows; a line that does both, or hides and encodes, keeps its user from seeing it."
    reference = "https://attack.mitre.org/techniques/T1059/001/; https://attack.mitre.org/techniques/T1564/003/"
    kind = "suspicious"
    signature = "Suspicious.PowerShell.HiddenDownload"
  strings:
    $hidden_first = /powershell(\.exe)?[^\r\n\x00]*[ ,'"][\/-]w[a-z]*[ ,'":]+(h(idden)?|1)[ ,'"][^\r\n\x00]*(\.DownloadString|\.DownloadFile|\.DownloadData|Invoke-WebRequest|Invoke-RestMethod|Start-BitsTransfer)/ ascii wide nocase
    $download_first = /powershell(\.exe)?[^\r\n\x00]*(\.DownloadString|\.DownloadFile|\.DownloadData|Invoke-WebRequest|Invoke-RestMethod|Start-BitsTransfer)[^\r\n\x00]*[ ,'"][\/-]w[a-z]*[ ,'":]+hidden/ ascii wide nocase
    $encoded = /powershell(\.exe)?[^\r\n\x00]*[ ,'"][\/-]w[a-z]*[ ,'":]+(h(idden)?|1)[ ,'"][^\r\n\x00]*[\/-]e(c|n[a-z]*)?[ ,'":]+[A-Za-z0-9+\/]{24}/ ascii wide nocase
  condition:
    any of them
}

rule PowerShell_Decodes_And_Runs {
  meta:
    description = "A script that turns base64 text into a compressed stream, unpacks it and runs the outcome"
    why = "Each step has uses; unpacking hidden code and handing it to the interpreter in one expression is what loaders are made of."
    reference = "https://attack.mitre.org/techniques/T1140/; https://attack.mitre.org/techniques/T1027/010/"
    kind = "suspicious"
    signature = "Suspicious.PowerShell.DecodesAndRuns"
  strings:
    $unpack = /(IO\.Compression\.)(GzipStream|DeflateStream)[^\x00]*FromBase64String\(['"]{1,2}[A-Za-z0-9+\/=]{24}/ ascii wide nocase
    $blob_first = /FromBase64String\(['"]{1,2}[A-Za-z0-9+\/=]{24,}['"]{1,2}\)[^\x00]*(IO\.Compression\.)(GzipStream|DeflateStream)/ ascii wide nocase
    $run = /(\bIEX\b|Invoke-Expression|&\s?\(\[scriptblock\]::create\()/ ascii wide nocase
  condition:
    $run and ($unpack or $blob_first)
}
