// What ransomware does before it encrypts, so that nothing can be restored.

rule Recovery_Destroyed {
  meta:
    description = "A program that deletes shadow copies and also turns the recovery of Windows off"
    why = "Deleting shadow copies alone is housekeeping, and so is a recovery setting; programs that do both want nothing restored."
    reference = "https://attack.mitre.org/techniques/T1490/"
    kind = "suspicious"
    signature = "Suspicious.Win.RecoveryDestroyed"
  strings:
    $shadows_1 = /vssadmin(\.exe)?"? +delete +shadows/ ascii wide nocase
    $shadows_2 = /wmic(\.exe)?"? +shadowcopy +delete/ ascii wide nocase
    $recovery_1 = /bcdedit(\.exe)?"? +\/set [^\r\n\x00]+recoveryenabled +no/ ascii wide nocase
    $recovery_2 = /bcdedit(\.exe)?"? +\/set [^\r\n\x00]+bootstatuspolicy +ignoreallfailures/ ascii wide nocase
    $recovery_3 = /wbadmin(\.exe)?"? +delete +(catalog|systemstatebackup)/ ascii wide nocase
  condition:
    uint16(0) == 0x5A4D and any of ($shadows_*) and any of ($recovery_*)
}
