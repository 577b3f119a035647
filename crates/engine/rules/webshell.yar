// Server pages that run what a visitor sends.

rule Webshell_Php_Request {
  meta:
    description = "A PHP page that evaluates, or runs as a command, a field of the request with nothing between"
    why = "The page is code (its opening tag) and hands the request itself to an interpreter: control over the server for any visitor."
    reference = "https://attack.mitre.org/techniques/T1505/003/"
    kind = "suspicious"
    signature = "Suspicious.Php.RunsRequest"
  strings:
    $tag = /<\?(php[\s\/]|=|\s)/ nocase
    $direct = /\b(eval|assert|system|passthru|shell_exec|popen|proc_open|pcntl_exec|create_function)\s*\(\s*@?\s*((base64_decode|gzinflate|gzuncompress|str_rot13|urldecode|rawurldecode|hex2bin|stripslashes|trim|strrev)\s*\(\s*@?\s*)*\$(\{\s?["'])?_(GET|POST|REQUEST|COOKIE|SERVER\s?\[\s?["']HTTP_)/ nocase
  condition:
    $tag and $direct
}

rule Php_Decodes_And_Runs {
  meta:
    description = "A PHP page that evaluates a text of its own after taking off two layers of encoding or more"
    why = "Encoded data is common and so are templates that evaluate; wrapping code in nested encodings hides it from who installs it."
    reference = "https://attack.mitre.org/techniques/T1027/010/; https://attack.mitre.org/techniques/T1140/"
    kind = "suspicious"
    signature = "Suspicious.Php.DecodesAndRuns"
  strings:
    $tag = /<\?(php[\s\/]|=|\s)/ nocase
    $run = /\b(eval|assert)\s*\(\s*(["']\?>["']\s*\.\s*)?@?(base64_decode|gzinflate|gzuncompress|gzdecode|str_rot13|strrev|hex2bin|rawurldecode|convert_uudecode)\s*\(\s*((base64_decode|gzinflate|gzuncompress|gzdecode|str_rot13|strrev|hex2bin|rawurldecode|convert_uudecode)\s*\(\s*)+["'][A-Za-z0-9+\/=\\]{24}/ nocase
  condition:
    $tag and $run
}

rule Webshell_Asp_Request {
  meta:
    description = "An ASP or ASP.NET page that evaluates a field of the request"
    why = "The page is code (its opening tag) and hands the request itself to eval: control over the server for any visitor."
    reference = "https://attack.mitre.org/techniques/T1505/003/"
    kind = "suspicious"
    signature = "Suspicious.Asp.RunsRequest"
  strings:
    $tag = /<(%|script[^>]*runat\s?=\s?["']?server)/ nocase
    $run = /\b(eval|execute|executeglobal)\s*\(?\s*request\s*(\.\s*(item|form|querystring|cookies))?\s*[\[(]\s*["'][^"'\r\n]+["']/ nocase
  condition:
    $tag and $run
}

rule Webshell_Jsp_Request {
  meta:
    description = "A JSP page that runs a field of the request as a command"
    why = "The page is code (its opening tag) and hands the request itself to exec: control over the server for any visitor."
    reference = "https://attack.mitre.org/techniques/T1505/003/"
    kind = "suspicious"
    signature = "Suspicious.Jsp.RunsRequest"
  strings:
    $tag = /<(%|jsp:scriptlet)/ nocase
    $run = /getRuntime\s*\(\s*\)\s*\.\s*exec\s*\(\s*[^\r\n;]*request\s*\.\s*getParameter\s*\(/
  condition:
    $tag and $run
}
