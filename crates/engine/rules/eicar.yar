// Test files: harmless, and to be called malware by everyone.
// Written in hex, so that neither this file nor what embeds it is one.

rule EICAR_Test_File {
  meta:
    description = "All 68 bytes of the EICAR test file, anywhere. Its first 33 bytes alone stand in clean files and do not count."
    reference = "https://www.eicar.org/download-anti-malware-testfile/"
    kind = "malware"
    signature = "EICAR-Test-File"
  strings:
    // suppress: text_as_hex
    $whole = {
      58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34
      28 50 5E 29 37 43 43 29 37 7D 24 45 49 43 41 52 2D
      53 54 41 4E 44 41 52 44 2D 41 4E 54 49 56 49 52 55
      53 2D 54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48 2A
    }
  condition:
    $whole
}

rule ClamAV_Test_File {
  meta:
    description = "The code of the program that ClamAV brings along to be found, anywhere."
    reference = "https://packages.debian.org/stable/clamav-testfiles"
    kind = "malware"
    signature = "ClamAV-Test-File"
  strings:
    // suppress: text_as_hex
    $code = {
      BB 71 10 40 00 33 C0 50 50 8B F3 53 53 50 B0 29
      40 30 04 66 AC 79 F9 BA 31 00 78 0D AD 50 FF 66
      70 0E 1F BE 31 00 E9 E5 FF B4 09 CD 21 B4 4C CD
      21 62 0C 0A 01 02 70 76 17 02 1E 4E 0C 04 2F DA
      CC 10
    }
  condition:
    $code
}
