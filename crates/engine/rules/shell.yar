// Shell scripts that hand the machine to somebody else.

rule Shell_Reverse_Shell {
  meta:
    description = "A script whose interactive shell reads from and writes to a connection that it opens outwards"
    why = "Opening a socket and starting a shell are both common; tying the shell's input and output to the socket is remote control."
    reference = "https://attack.mitre.org/techniques/T1059/004/; https://attack.mitre.org/techniques/T1571/"
    kind = "suspicious"
    signature = "Suspicious.Shell.ReverseShell"
  strings:
    $bash = /\b(ba|z|k|da)?sh\s+-i\s*[>&0-2]{1,4}\s*\/dev\/(tcp|udp)\/[^\s\/]{3,}\/[0-9]{1,5}/
    $mkfifo = /mkfifo\s+([^\s;]+)\s*;[^\r\n]*\|\s*(\/bin\/)?(ba)?sh\s+-i\s*2>&1\s*\|\s*(nc|ncat|telnet|openssl)\s/
    $python = /socket\.socket\([^\r\n]*\)\s*;[^\r\n]*\.connect\(\([^\r\n]+os\.dup2\([^\r\n]*(subprocess\.(call|Popen|run)|pty\.spawn)\(\s*\[?["']\/bin\//
  condition:
    // Articles quote these lines: only a script, or hardly more than the line itself, can act on them.
    any of them and (uint16be(0) == 0x2321 or filesize < 1KB)
}

rule Shell_Decodes_And_Runs {
  meta:
    description = "A shell script that decodes an embedded text and pipes it into an interpreter"
    why = "Self-extractors decode archives, installers pipe downloads; piping one's own encoded commands into a shell hides them."
    reference = "https://attack.mitre.org/techniques/T1140/; https://attack.mitre.org/techniques/T1059/004/"
    kind = "suspicious"
    signature = "Suspicious.Shell.DecodesAndRuns"
  strings:
    $piped = /echo\s+(-n\s+)?["']?[A-Za-z0-9+\/=]{24,}["']?\s*\|\s*base64\s+(-d|-D|--decode)\s*\|\s*(sudo\s+)?(\/usr)?(\/bin\/)?(ba|z|k|da)?sh\b/
    $here = /base64\s+(-d|-D|--decode)\s*<<<\s*["']?[A-Za-z0-9+\/=]{24,}["']?\s*\|\s*(sudo\s+)?(\/usr)?(\/bin\/)?(ba|z|k|da)?sh\b/
  condition:
    any of them
}
