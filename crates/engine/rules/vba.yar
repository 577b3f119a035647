// Macros, as source text.

rule Vba_Autorun_Downloads {
  meta:
    description = "A macro that runs by itself when the document opens, downloads and starts a program"
    why = "Autorun macros set up templates; one that also fetches from the network and starts a process installs something."
    reference = "https://attack.mitre.org/techniques/T1137/001/; https://attack.mitre.org/techniques/T1059/005/"
    kind = "suspicious"
    signature = "Suspicious.Vba.AutorunDownloads"
  strings:
    $attribute = "Attribute VB_" ascii nocase
    $autorun = /\bSub\s+(Auto_?Open|Auto_?Exec|Auto_?Close|Document_Open|Document_Close|Workbook_Open|Workbook_Activate)\s*\(/ ascii nocase
    $download_1 = "URLDownloadToFile" ascii nocase
    $download_2 = /(MSXML2\.(Server)?XMLHTTP|Microsoft\.XMLHTTP|WinHttp\.WinHttpRequest)/ ascii nocase
    $download_3 = /powershell[^\r\n]*(\.DownloadString|\.DownloadFile|Invoke-WebRequest|-e(nc|ncodedcommand)?\s)/ ascii nocase
    $run_1 = /\bShell[\s(]{1,3}["A-Za-z(]/ ascii nocase
    $run_2 = /(WScript\.Shell|Shell\.Application|ShellExecute|Win32_Process)/ ascii nocase
  condition:
    $attribute and $autorun and any of ($download_*) and any of ($run_*)
}
