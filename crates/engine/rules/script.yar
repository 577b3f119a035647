// Scripts for the hosts of Windows and for Python.

rule Script_Downloads_And_Runs {
  meta:
    description = "A JScript, VBScript or HTA source that downloads, writes what came to a file and starts a program"
    why = "The four objects each have uses; one script that creates all of them and calls save and run is a downloader."
    reference = "https://attack.mitre.org/techniques/T1059/005/; https://attack.mitre.org/techniques/T1105/"
    kind = "suspicious"
    signature = "Suspicious.Script.DownloadsAndRuns"
  strings:
    $create = /(CreateObject|ActiveXObject)\s*\(\s*["'](WScript\.Shell|Shell\.Application)/ ascii wide nocase
    $fetch = /(CreateObject|ActiveXObject)\s*\(\s*["'](MSXML2\.(Server)?XMLHTTP|Microsoft\.XMLHTTP|WinHttp\.WinHttpRequest)/ ascii wide nocase
    $stream = /(CreateObject|ActiveXObject)\s*\(\s*["']ADODB\.Stream/ ascii wide nocase
    $save = /\.SaveToFile\b/ ascii wide nocase
    $run = /\.(Run|Exec|ShellExecute)[ (]/ ascii wide nocase
  condition:
    all of them and filesize < 4MB
}

rule Python_Decodes_And_Runs {
  meta:
    description = "A Python source that runs code which it decodes from a text of its own"
    why = "Encoded data is common and so is exec; running an embedded encoded program in one call hides that program from its reader."
    reference = "https://attack.mitre.org/techniques/T1027/013/; https://attack.mitre.org/techniques/T1059/006/"
    kind = "suspicious"
    signature = "Suspicious.Python.DecodesAndRuns"
  strings:
    $base64 = /\b(exec|eval)\s*\([^\r\n#"]*b(64|32|85)decode\s*\(\s*[bru]{0,2}['"]{1,3}[A-Za-z0-9+\/=_-]{24}/
    $imported = /\b(exec|eval)\s*\([^\r\n#]*__import__\s*\(\s*['"](base64|zlib|marshal|codecs)['"][^\r\n]*['"][A-Za-z0-9+\/=_\\-]{24}/
  condition:
    any of them
}

rule Script_Starts_Programs {
  meta:
    description = "a script that starts a program through an object of Windows"
    why = "Logon and installation scripts do it, so this is only a fact; decoding the command first is another."
    reference = "https://attack.mitre.org/techniques/T1059/005/; https://attack.mitre.org/techniques/T1059/007/"
    fact = "executes"
  strings:
    $object = /(CreateObject|ActiveXObject|GetObject)\s*\(\s*["'](WScript\.Shell|Shell\.Application|winmgmts:[^"'\r\n]*Win32_Process)/ ascii wide nocase
    $run = /\.(Run|Exec|ShellExecute|Create)[ (]/ ascii wide nocase
  condition:
    $object and $run and uint16(0) != 0x5A4D and filesize < 4MB
}

rule Script_Decodes_What_It_Runs {
  meta:
    description = "a script that runs text which it puts together from character codes or reversed text"
    why = "Packers of web pages do it to save bytes, so this is only a fact; starting programs as well is another."
    reference = "https://attack.mitre.org/techniques/T1027/010/; https://attack.mitre.org/techniques/T1140/"
    fact = "decodes"
  strings:
    $vb = /\b(Execute|ExecuteGlobal|Eval)\s*\(?\s*(Chrw?|StrReverse|Unescape)\s*\(/ ascii wide nocase
    $js = /\beval\s*\(\s*(String\.fromCharCode|unescape|atob)\s*\(/ ascii wide
    $codes = /(\bChrW?\((&H[0-9A-F]{2}|[0-9]{2,3})\)\s*[&+]\s*){12}/ ascii wide nocase
    $reversed = /StrReverse\s*\(\s*"[^"\r\n]*(exe\.|llehs|ptth|tcejbO)/ ascii wide nocase
  condition:
    any of them and uint16(0) != 0x5A4D and filesize < 4MB
}

rule Script_Writes_Programs {
  meta:
    description = "a script that writes a program or another script to the disk through an object of Windows"
    why = "Installation scripts do it, so this is only a fact; a name that shows a document is another."
    reference = "https://attack.mitre.org/techniques/T1105/; https://attack.mitre.org/techniques/T1059/005/"
    fact = "drops"
  strings:
    $object = /(CreateObject|ActiveXObject)\s*\(\s*["'](ADODB\.Stream|Scripting\.FileSystemObject)/ ascii wide nocase
    $written = /\.(SaveToFile|CreateTextFile|OpenTextFile)\b/ ascii wide nocase
    $name = /["'][^"'\r\n]{0,100}\.(exe|dll|scr|pif|hta|vbs|vbe|jse|wsf|ps1|cmd|bat)["']/ ascii wide nocase
  condition:
    all of them and uint16(0) != 0x5A4D and filesize < 4MB
}
