// Pages that bring a file along, and applications made of pages.

rule Page_Saves_What_It_Carries {
  meta:
    description = "a page that makes a file of a text of its own and has it saved"
    why = "Pages export tables and pictures that way, so this is only a fact; saving a file nobody asked for is another."
    reference = "https://attack.mitre.org/techniques/T1027/006/"
    fact = "drops"
  strings:
    $text = /\batob\s*\(\s*["'`][A-Za-z0-9+\/=]{200}/
    // A program or an archive, by how its first bytes look in base64.
    $file = /=\s*["'`](TVqQAA|TVpQAA|UEsDBBQA|UEsDBAoA|N3q8rycc|UmFyIRoH|Q0QwMDE)[A-Za-z0-9+\/]{60}/
    $decoded = /\batob\s*\(/
    $blob = /\bnew\s+Blob\s*\(/
    $saved = /(\.download\s*=|msSaveOrOpenBlob|msSaveBlob|setAttribute\s*\(\s*["']download["'])/
  condition:
    $blob and $saved and ($text or $file and $decoded) and uint16(0) != 0x5A4D and filesize < 64MB
}

rule Page_Saves_Without_Being_Asked {
  meta:
    description = "a page that presses its own link to a file as soon as it is loaded"
    why = "Pages of downloads do it, so this is only a fact; bringing the file along in a text is another."
    reference = "https://attack.mitre.org/techniques/T1027/006/"
    fact = "runs_by_itself"
  strings:
    $loaded = /(\bonload\s*=|addEventListener\s*\(\s*["'](load|DOMContentLoaded)["']|\bsetTimeout\s*\()/ nocase
    $pressed = /(\.click\s*\(\s*\)|dispatchEvent\s*\(\s*new\s+MouseEvent|\bmsSave(OrOpen)?Blob\s*\()/
    $blob = /\bnew\s+Blob\s*\(/
    $saved = /(\.download\s*=|msSaveOrOpenBlob|msSaveBlob|setAttribute\s*\(\s*["']download["'])/
  condition:
    all of them and uint16(0) != 0x5A4D and filesize < 64MB
}

rule Application_Of_A_Page_Hides {
  meta:
    description = "an application made of a page (HTA) that shows no window, or closes it at once"
    why = "Tools for a task in the background do it, so this is only a fact; starting programs as well is another."
    reference = "https://attack.mitre.org/techniques/T1218/005/"
    fact = "runs_by_itself"
  strings:
    $application = "<hta:application" ascii wide nocase
    $minimized = /windowstate\s*=\s*["']?minimize/ ascii wide nocase
    $no_task = /showintaskbar\s*=\s*["']?no\b/ ascii wide nocase
    $moved = /\b(window\.)?(moveTo|resizeTo)\s*\(?\s*(-\s*[0-9]{2}|0\s*,\s*0)/ ascii wide nocase
    $closed = /\b(window|self)\.close\b/ ascii wide nocase
  condition:
    $application and ($closed or $moved or $minimized and $no_task) and filesize < 4MB
}
