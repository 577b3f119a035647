//! The signature of a database: RSA over the MD5 of what follows the header.
//!
//! The number is written with the digits `a`–`z`, `A`–`Z`, `0`–`9`, `+`, `/`, the least significant first. Raised to `e` modulo `n` it is
//! the MD5, as 16 bytes, the most significant first.

use rsa::BoxedUint;

/// Who may sign databases.
#[derive(Clone, Debug)]
pub(in crate::clamdb) struct PublicKey {
    n: BoxedUint,
    e: BoxedUint,
}

const BITS: u32 = 1024;
const DIGITS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";

impl PublicKey {
    /// The key of ClamAV's own databases.
    pub(in crate::clamdb) fn published() -> Self {
        const N: &str = concat!(
            "118640995551645342603070001658453189751527774412027743746599405743243142607464144767361060640655",
            "844749760788890022283424922762488917565551002467771109669598189410434699034532232228621591089508",
            "178591428456220796841621637175567590476666928698770143328137383952820383197532047771780196576957",
            "695822641224262693037",
        );
        Self::new(N, "100001027").expect("the constants are numbers")
    }

    /// Both in decimal digits; `None` unless they are numbers, the first of them odd.
    pub(in crate::clamdb) fn new(n: &str, e: &str) -> Option<Self> {
        let n = BoxedUint::from_str_radix_with_precision_vartime(n, 10, BITS).ok()?;
        let e = BoxedUint::from_str_radix_with_precision_vartime(e, 10, BITS).ok()?;
        bool::from(n.to_odd().is_some()).then_some(Self { n, e })
    }

    /// Whether the holder of the key has signed that digest.
    pub(super) fn verifies(&self, signature: &str, digest: [u8; 16]) -> bool {
        let mut expected = [0; BITS as usize / 8];
        expected.iter_mut().rev().zip(digest.iter().rev()).for_each(|(to, from)| *to = *from);
        decode(signature).and_then(|number| self.power(&number)).is_some_and(|plain| *plain.to_be_bytes() == expected)
    }

    fn power(&self, number: &BoxedUint) -> Option<BoxedUint> {
        let modulus = Option::from(self.n.to_odd())?;
        (*number < self.n).then(|| number.pow_mod(&self.e, &modulus))
    }
}

/// `None` where a character is no digit, or the number is larger than a key.
fn decode(text: &str) -> Option<BoxedUint> {
    let mut bytes = [0u8; BITS as usize / 8];
    for (place, digit) in text.bytes().enumerate() {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        for bit in (0..6).filter(|bit| value >> bit & 1 == 1) {
            let at = place.checked_mul(6)?.checked_add(bit)?;
            // The most significant byte stands first.
            *bytes.iter_mut().rev().nth(at / 8)? |= 1 << (at % 8);
        }
    }
    BoxedUint::from_be_slice(&bytes, BITS).ok()
}

/// The key that tests sign with.
#[cfg(test)]
pub(in crate::clamdb) mod tests {
    use super::*;

    const N: &str = concat!(
        "111658466444785561766916562623278757916963718103935872274968514752930021483366842564755729884573",
        "960043670267134471201298523882773065752620088890591074526940013267639312659786144940710962846547",
        "879519786511936683751892921854231989371200306718993707213300852943909563585598775111727443402926",
        "586040612112073161211",
    );
    const D: &str = concat!(
        "931840829033541123294947791371073146326888861371207284291401160864572087608996244966752341994668",
        "873486649331899257025963388697978991908392512165043504174528792395044736070718689587596456768586",
        "465600755888793139254190570296707740532271012941246898436258451506245821858159400424472542406341",
        "30297297370370419563",
    );

    pub(in crate::clamdb) fn own_key() -> PublicKey {
        PublicKey::new(N, "100001027").unwrap()
    }

    pub(in crate::clamdb) fn sign(digest: [u8; 16]) -> String {
        let secret = PublicKey::new(N, D).unwrap();
        let mut number = [0; BITS as usize / 8];
        number[BITS as usize / 8 - 16..].copy_from_slice(&digest);
        let signed = secret.power(&BoxedUint::from_be_slice(&number, BITS).unwrap()).unwrap().to_be_bytes();
        let bit = |at: usize| signed.iter().rev().nth(at / 8).map_or(0, |byte| usize::from(byte >> (at % 8) & 1));
        (0..(BITS as usize).div_ceil(6))
            .map(|digit| char::from(DIGITS[(0..6).map(|at| bit(digit * 6 + at) << at).sum::<usize>()]))
            .collect()
    }

    #[test]
    fn the_published_key_is_the_one_of_the_manual() {
        let key = PublicKey::published();
        let n = "118640995551645342603070001658453189751527774412027743746599405743243142607464144767361060640655844749760788890022283424922762488917565551002467771109669598189410434699034532232228621591089508178591428456220796841621637175567590476666928698770143328137383952820383197532047771780196576957695822641224262693037";
        assert_eq!((key.n.to_string_radix_vartime(10).as_str(), key.e.to_string_radix_vartime(10).as_str()), (n, "100001027"));
    }

    #[test]
    fn only_the_holder_of_the_key_can_sign() {
        let digest = *b"0123456789abcdef";
        let signature = sign(digest);
        assert_eq!(signature.len(), 171);
        assert!(own_key().verifies(&signature, digest));
        assert!(!own_key().verifies(&signature, *b"0123456789abcdeg"));
        assert!(!PublicKey::published().verifies(&signature, digest));
    }

    #[test]
    fn what_is_no_signature_verifies_nothing() {
        let good = sign([7; 16]);
        let other = if good.starts_with('a') { "b" } else { "a" };
        for bad in
            ["", "X", "a", "-", &good[1..], &format!("{good}b"), &format!("{other}{}", &good[1..]), &"/".repeat(171), &"a".repeat(500)]
        {
            assert!(!own_key().verifies(bad, [7; 16]), "{bad}");
        }
        // The number zero must sign no digest of zeros by accident of its own.
        assert!(own_key().verifies(&format!("{good}a"), [7; 16]), "a leading zero changes no number");
    }

    #[test]
    fn numbers_that_are_no_key_are_refused() {
        for (n, e) in [("", "3"), ("x", "3"), ("8", "3"), ("9", ""), (&"9".repeat(310), "3")] {
            assert!(PublicKey::new(n, e).is_none(), "{n} {e}");
        }
    }
}
