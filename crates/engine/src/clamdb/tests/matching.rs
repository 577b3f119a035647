//! Patterns and expressions against objects; the expectations are what `clamscan` 1.4.6 answered.

use super::*;

const CONTENT: &[u8] = b"AAhelloBBhello world xxhelloCC";

fn hex_text(text: &str) -> String {
    hex(text)
}

/// Whether a pattern for any file, at any offset, matches.
fn matches(pattern: &str, content: &[u8]) -> bool {
    at("*", pattern, content)
}

fn at(offset: &str, pattern: &str, content: &[u8]) -> bool {
    found("a.ndb", &format!("Name:0:{offset}:{pattern}"), content)
}

fn logical(expression: &str, subs: &[&str], content: &[u8]) -> bool {
    found("a.ldb", &format!("Name;Engine:51-255,Target:0;{expression};{}", subs.join(";")), content)
}

fn found(file: &str, line: &str, content: &[u8]) -> bool {
    let database = database(&[(file, line)]);
    assert_eq!(database.counts().signatures(), 1, "{line}: {:?}", database.counts());
    let findings = scan(&database, content);
    assert!(!findings.incomplete, "{line}");
    !findings.hits.is_empty()
}

#[test]
fn eicar_is_found_by_a_pattern() {
    let eicar = [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat();
    let line = format!("Eicar-Test-Signature:0:0:{}", hex_text(&eicar));
    let database = database(&[("a.ndb", &line)]);
    assert_eq!(signatures(&database, eicar.as_bytes()), ["Eicar-Test-Signature"]);
    assert_eq!(signatures(&database, format!(" {eicar}").as_bytes()), [""; 0]);
}

#[test]
fn every_wildcard_matches_what_it_stands_for() {
    let hello = hex_text("hello");
    for (pattern, expected) in [
        (hello.clone(), true),
        (hello.to_uppercase(), true),
        (hex_text("hellp"), false),
        ("6?656c6c".to_owned(), true),
        ("?8656c6c".to_owned(), true),
        ("?9656c6c".to_owned(), false),
        ("68??6c6c6f".to_owned(), true),
        (format!("{hello}{{2}}{hello}"), true),
        (format!("{hello}{{3}}{hello}"), false),
        (format!("{hello}{{-2}}{hello}"), true),
        (format!("{hello}{{1-3}}{hello}"), true),
        (format!("{hello}{{3-}}{hello}"), true),
        (format!("{hello}{{300-}}{hello}"), false),
        ("4141*4343".to_owned(), true),
        ("4343*4141".to_owned(), false),
        ("4141*776f*4343".to_owned(), true),
        ("4141*4343*776f".to_owned(), false),
        (format!("{hello}{{5}}"), true),
        (format!("{{5}}{hello}"), true),
        (format!("{{50}}{hello}"), false),
        (format!("??{hello}"), true),
        (format!("{hello}??"), true),
        (format!("{hello}{{-200}}4343"), true),
        (format!("{hello}{{0-0}}4242"), true),
        ("4141{0-0}4343".to_owned(), false),
        (format!("{hello}{{0}}4343"), true),
        (format!("{hello}{{200}}4343"), false),
        (format!("(41|42){hello}"), true),
        (format!("(43|44){hello}"), false),
        ("6865!(6c|6d)6c6f".to_owned(), false),
        ("6865!(6d|6e)6c6f".to_owned(), true),
        ("6865(6c6c|6d)6f".to_owned(), true),
        ("6865(6?6c|6d)6f".to_owned(), true),
        (format!("4141[0-2]{hello}"), true),
        (format!("{hello}*776f726c64"), true),
    ] {
        assert_eq!(matches(&pattern, CONTENT), expected, "{pattern}");
    }
}

#[test]
fn borders_take_the_bytes_they_stand_for() {
    let content = b"xx hello-world foo\r\nbar_baz 123\x00\x01\x02END";
    let [hello, world, foo, bar] = ["hello", "world", "foo", "bar"].map(hex_text);
    for (pattern, expected) in [
        (format!("(B){hello}"), true),
        (format!("{hello}(B)"), true),
        ("(B)656c6c6f".to_owned(), false),
        ("68656c6c(B)".to_owned(), false),
        (format!("{}(B)", hex_text("123")), false),
        (format!("{}(W)", hex_text("123")), true),
        (format!("{}(B)", hex_text("END")), true),
        (format!("(B){}", hex_text("xx")), true),
        (format!("(L){}", hex_text("xx")), true),
        (format!("{foo}(B){bar}"), true),
        (format!("{foo}(L){bar}"), true),
        (format!("{foo}(W){bar}"), true),
        (format!("{foo}(L)0a{bar}"), false),
        (format!("{foo}(W)0a{bar}"), true),
        (format!("{foo}(L)0d"), false),
        (format!("{hello}(B){world}"), true),
        (format!("{hello}(L){world}"), false),
        (format!("{hello}!(B){world}"), false),
        (format!("{hello}!(L){world}"), true),
        (format!("(L){hello}"), false),
        ("!(W)656c6c6f".to_owned(), true),
        (format!("!(W){hello}"), false),
    ] {
        assert_eq!(matches(&pattern, content), expected, "{pattern}");
    }
}

#[test]
fn offsets_hold_a_match_in_its_place() {
    let hello = hex_text("hello");
    for (offset, pattern, expected) in [
        ("0", format!("4141{hello}"), true),
        ("1", format!("4141{hello}"), false),
        ("0,2", hello.clone(), true),
        ("0,1", hello.clone(), false),
        ("0,2000", hello.clone(), true),
        ("3,3", hello.clone(), false),
        ("EOF-7", hello.clone(), true),
        ("EOF-8,2", hello.clone(), true),
        ("EOF-6", hello.clone(), false),
        ("0", "????68".to_owned() + "656c", true),
        ("0", format!("4141*{}", hex_text("world")), true),
        ("1", format!("4141*{}", hex_text("world")), false),
        ("23", format!("{hello}*4141"), false),
    ] {
        assert_eq!(at(offset, &pattern, CONTENT), expected, "{offset} {pattern}");
    }
}

#[test]
fn offsets_of_executables_are_theirs_alone() {
    let mut file = pe(&[(0x1000, 0x300, 0x400, 0x400), (0x2000, 0x200, 0x800, 0x200)], 0x1010, 0, 0xa00, b"\x90");
    file[0x410..0x415].copy_from_slice(b"hello");
    file[0x804..0x809].copy_from_slice(b"world");
    for (offset, text, expected) in [
        ("EP+0", "hello", true),
        ("EP+1", "hello", false),
        ("EP-16,16", "hello", true),
        ("S0+16", "hello", true),
        ("S1+4", "world", true),
        ("SL+4", "world", true),
        ("SE1", "world", true),
        ("SE0", "world", false),
        ("S7+0", "world", false),
    ] {
        assert_eq!(found("a.ndb", &format!("Name:1:{offset}:{}", hex_text(text)), &file), expected, "{offset}");
    }
    assert!(!found("a.ndb", &format!("Name:6:*:{}", hex_text("hello")), &file));
    assert!(found("a.ndb", &format!("Name:0:*:{}", hex_text("hello")), &file));
    assert!(!found("a.ndb", &format!("Name:1:*:{}", hex_text("hello")), CONTENT));
}

#[test]
fn old_patterns_have_a_name_and_digits() {
    let database = database(&[("a.db", "Old=68656c6c6f\nOld2 (Clam)=414168656c6c6f\nnonsense\n")]);
    assert_eq!(signatures(&database, CONTENT), ["Old", "Old2"]);
    assert_eq!(database.counts().invalid, 1);
}

#[test]
fn matches_are_counted() {
    let (hello, world) = (hex_text("hello"), hex_text("world"));
    for (expression, expected) in [
        ("(0|1)=5", false),
        ("(0|1)=4", true),
        ("(0|1)>3,2", true),
        ("(0|1)=4,3", false),
        ("(0&1)=4", true),
        ("(0=3)&1", true),
        ("(0=2)|1", true),
        ("0&1=1", true),
        ("0=3&1=1", true),
        ("((0=3)|(1=1))=4", true),
        ("((0=3)|(1=1))=2", false),
        ("0&(1=0)", false),
        ("(0|1)=0", false),
        ("(0|1)<5", true),
        ("(0|1)<4", false),
        ("(0|1)<5,2", true),
    ] {
        assert_eq!(logical(expression, &[&hello, &world], CONTENT), expected, "{expression}");
    }
    for (content, pattern, count) in [
        (&b"xaaaay------"[..], "6161", 3),
        (b"ab--cd--cd", "6162{1-10}6364", 2),
        (b"ab--cd--cd", "6162*6364", 2),
        (b"ab--ab--cd", "6162*6364", 1),
        (b"ab--ab--cd", "6162{1-10}6364", 1),
    ] {
        assert!(logical(&format!("0={count}"), &[pattern], content), "{pattern}");
        assert!(!logical(&format!("0={}", count + 1), &[pattern], content), "{pattern}");
    }
    assert!(logical("0=0", &["7a7a7a7a"], CONTENT));
}

#[test]
fn modifiers_change_how_a_part_matches() {
    for (sub, content, expected) in [
        ("68656c6c6f::i", &b"..HeLLo.."[..], true),
        ("68656C6C6F::i", b"..HeLLo..", true),
        ("48454c4c4f::i", b"..hello..", true),
        ("68656c6c6f", b"\x01\xffHeLLo\xfe\0", false),
        // A text is matched in small letters as well.
        ("68656c6c6f", b"..HeLLo..", true),
        ("68656c6c6f::w", b"..h\0e\0l\0l\0o\0", true),
        ("68656c6c6f::w", b"..hello...", false),
        ("68656c6c6f::wa", b"..hello...", true),
        ("68656c6c6f::w", b"h\0e\0l\0l\0o", false),
        ("68656c6c6f::f", b"hello----", true),
        ("68656c6c6f::f", b"---hello", true),
        ("68656c6c6f::f", b"---_hello_", true),
        ("68656c6c6f::f", b"----xhello-", false),
        ("68656c6c6f::wf", b"-x\0h\0e\0l\0l\0o\0", false),
        ("68656c6c6f::wf", b"---xh\0e\0l\0l\0o\0--", true),
        ("68656c6c6f::wf", b"h\0e\0l\0l\0o\0x\0", false),
        ("68656c6c6f::iwfa", b"..HELLO..", true),
        ("6865{2}6c6f::w", b"h\0e\0zzl\0o\0", true),
        ("6865{2}6c6f::w", b"h\0e\0z\0z\0l\0o\0", false),
        ("6865??6c6f::w", b"h\0e\0z\0l\0o\0", true),
        ("6865(7a|79)6c6f::w", b"h\0e\0z\0l\0o\0", true),
        ("EOF-5:68656c6c6f::i", b"---HELLO", true),
    ] {
        assert_eq!(logical("0", &[sub], content), expected, "{sub} {}", content.escape_ascii());
    }
}

#[test]
fn conditions_hold_the_object_to_them() {
    for (conditions, expected) in [
        ("FileSize:30-30", true),
        ("FileSize:31-99", false),
        ("Container:CL_TYPE_ANY", true),
        ("NumberOfSections:1-9", false),
        ("EntryPoint:0-9999", false),
    ] {
        assert_eq!(found("a.ldb", &format!("N;Engine:51-255,{conditions},Target:0;0;4141"), CONTENT), expected, "{conditions}");
    }
    let database = database(&[("a.ldb", "N;Engine:51-255,Container:CL_TYPE_ANY,Target:0;0;4141")]);
    assert_eq!(database.scan(Object { content: CONTENT, containers: &[ClamType::of(b"")] }, &|| true), Findings::default());
}

/// What floods a pattern is not searched for ever, and never passed as examined.
#[test]
fn work_is_bounded_and_the_bound_is_told() {
    let nested = "6161{1-200}".repeat(60) + "(62|63)";
    let database = database(&[("a.ndb", &format!("Name:0:*:{nested}"))]);
    let findings = scan(&database, &vec![b'a'; 1 << 20]);
    assert_eq!(findings, Findings { incomplete: true, ..Findings::default() });
}

#[test]
fn a_match_is_found_across_the_steps_of_the_search() {
    let (eight, two) = (hex_text("needle-in-a-stack"), "6e65");
    for start in [0, (1 << 14) - 17, (1 << 14) - 8, (1 << 14) - 1, 1 << 14, (1 << 15) - 3] {
        let mut content = vec![0xee; 1 << 16];
        content[start..start + 17].copy_from_slice(b"needle-in-a-stack");
        assert!(matches(&eight, &content) && matches(two, &content) && matches(&hex_text("needle"), &content), "{start}");
        assert!(logical("0=1", &[&format!("{}::i", hex_text("NEEDLE-IN"))], &content), "{start}");
    }
}

#[test]
fn each_pattern_of_many_is_found_where_it_stands() {
    let word = |i: u32| format!("{:08x}{:08x}{:08x}", i.wrapping_mul(2_654_435_761), i.wrapping_mul(40_503), !i);
    let text: String = (0..3_000).map(|i| format!("Name-{i:04}:0:*:{}\n", word(i))).collect();
    let database = database(&[("a.ndb", &text)]);
    assert_eq!(database.counts().bodies, 3_000);
    let mut content = Vec::new();
    for i in (0..3_000).step_by(7) {
        let word = word(i);
        content.extend((0..12).map(|at| u8::from_str_radix(&word[at * 2..at * 2 + 2], 16).unwrap()));
        content.push(0xcc);
    }
    let expected: Vec<_> = (0..3_000).step_by(7).map(|i| format!("Name-{i:04}")).collect();
    assert_eq!(signatures(&database, &content), expected);
}

#[test]
fn regular_expressions_run_once_their_trigger_holds() {
    let content = b"\x01\x02\0\0alpha Alpha alpha bravo\n \0\0zz\xe9/x";
    let alpha = hex_text("alpha");
    for (regex, expected) in [
        ("0/br.vo/", true),
        ("0/BR.VO/", false),
        ("0/BR.VO/i", true),
        ("0/alpha.*bravo/", true),
        ("0/^alpha/", false),
        ("0/^ /", false),
        ("0/^ /m", true),
        ("0/bravo$/", false),
        ("0/bravo$/m", true),
        ("0/alpha/A", false),
        ("0/\\x01/A", true),
        ("4:0/alpha/", true),
        ("5:0/alpha/", false),
        ("5:0/alpha/r", true),
        ("5:0/bravo/re", true),
        ("0,3:0/alpha/r", false),
        ("0,4:0/alpha/r", true),
        ("0,8:0/alpha/re", false),
        ("4:0/bravo/", false),
        ("0,10:0/alpha/", true),
        ("0,3:0/alpha/", false),
        ("0,4:0/alpha/", true),
        ("0,8:0/alpha/e", false),
        ("0,9:0/alpha/e", true),
        ("4,5:0/alpha/e", true),
        ("4,4:0/alpha/e", false),
        ("5,20:0/alpha/", true),
        ("5,8:0/alpha/", false),
        ("0/a b r a v o # x/x", false),
        ("0/(?<=alpha )bravo/", true),
        ("0/a.*a/U", true),
        ("0/\\xe9\\/x/", true),
        ("0/zz.\\/x/", true),
        ("0=1/bravo/", false),
        ("0=2/bravo/", true),
        ("0>1/bravo/", true),
        ("EOF-4:0/zz/", false),
        ("EOF-5:0/zz/", true),
        ("0/bravo.*zz/", false),
        ("0/bravo.*zz/s", true),
        ("0/bravo.*?\\x3Bzz/s", false),
    ] {
        assert_eq!(logical("0&1", &[&alpha, regex], content), expected, "{regex}");
    }
    for (expression, regex, expected) in [
        ("0&(1=2)", "0/alpha/g", true),
        ("0&(1=3)", "0/alpha/gi", true),
        ("0&(1=1)", "0/alpha/", true),
        ("0&(1>1)", "0/alpha/g", true),
        ("0&(1=0)", "0/nothere/", true),
        ("0&(1=0)", "0=9/alpha/", true),
        ("0&(1=5)", "0/a/g", false),
        ("0=0&1", "0=0/bravo/", false),
    ] {
        assert_eq!(logical(expression, &[&alpha, regex], content), expected, "{expression} {regex}");
    }
}

#[test]
fn a_regular_expression_that_meets_its_limit_is_no_answer() {
    let endless = "Name;Engine:81-255,Target:0;0&1;6161;0/(a+)+$/";
    let content = format!("{}b\0", "a".repeat(60));
    let findings = scan(&database(&[("a.ldb", endless)]), content.as_bytes());
    assert_eq!(findings, Findings { incomplete: true, ..Findings::default() });
    // What others find is told.
    let findings = scan(&database(&[("a.ldb", &format!("{endless}\nOther;Target:0;0;6162"))]), content.as_bytes());
    assert_eq!((findings.hits.len(), findings.incomplete), (1, true));
}

#[test]
fn bytes_beside_the_last_match_are_compared() {
    let content = b"\0\x01\xffAAAA\x11\x22\x33\x44\0\xffAAAA\x55\x66\x77\x88\0aaaa7b ";
    let trigger = hex_text("AAAA");
    for (compare, expected) in [
        ("0(>>4#ib1#=0x55)", true),
        ("0(>>4#ib1#=0x11)", false),
        ("0(>>4#il4#=0x88776655)", true),
        ("0(<<1#ib1#=0xff)", true),
        ("0(>>13#hb2#=123)", true),
        ("0(>>90#hb2#=123)", false),
    ] {
        assert_eq!(logical("0&1", &[&trigger, compare], content), expected, "{compare}");
        assert_eq!(logical("0&(1=0)", &[&trigger, compare], content), !expected, "{compare}");
    }
    assert!(logical("0&1", &[&format!("{trigger}::i"), "0(>>4#hb2#=0x7b)"], content));
    assert!(!logical("0|1", &["7a7a7a", "0(>>4#ib1#>0)"], content));
    let line = "Name;Target:0;0&1;6161(B);0(>>4#ib1#=1)";
    assert_eq!(database(&[("a.ldb", line)]).counts().unsupported.len(), 1);
}

#[test]
fn a_macro_asks_for_a_group_behind_the_part_before() {
    let content = b"\0\x01\xffaaabbbccc\0\0\0\0aaaXbbbYccc\xff";
    let with = |macro_text: &str, expression: &str, group: &str| {
        let line = format!("Name;Target:0;{expression};616161;{macro_text}");
        signatures(&database(&[("a.ldb", &line), ("b.ndb", group)]), content) == ["Name"]
    };
    for (macro_text, expression, group, expected) in [
        ("${3-3}12$", "0&1", "D:0:$12:626262", true),
        ("${0-3}12$", "0&1", "D:0:$12:626262", true),
        ("${4-4}12$", "0&1", "D:0:$12:626262", true),
        ("${5-9}12$", "0&1", "D:0:$12:626262", false),
        ("${6-8}12$", "0&1", "D:0:$12:626262\nE:0:$12:636363", true),
        ("${3-3}12$", "0&1", "D:0:$13:626262", false),
        ("${3-3}12$", "0&1", "D:1:$12:626262", false),
        ("${3-3}12$", "0&(1=0)", "D:0:$12:646464", true),
    ] {
        assert_eq!(with(macro_text, expression, group), expected, "{macro_text} {group}");
    }
    // A pattern of a group is no signature of its own.
    assert_eq!(scan(&database(&[("b.ndb", "D:0:$12:626262")]), content), Findings::default());
}

/// As `clamscan` takes them.
#[test]
fn objects_have_the_target_of_their_type() {
    let marked = |start: &[u8]| [start, b"\0\x01\x02\xffleaf_marker"].concat();
    for (start, target) in [
        (&b"\0\x01"[..], 14),
        (b"MZ", 1),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 2),
        (b"BM", 5),
        (b"\0\0\x01\0", 14),
        (b"CWS", 11),
        (b"\xca\xfe\xba\xbe", 12),
        (b"%PDF-1.4\n", 10),
    ] {
        let lines: String =
            [1, 2, 4, 5, 6, 9, 10, 11, 12, 13, 14].map(|target| format!("T{target}:{target}:*:{}\n", hex_text("leaf_marker"))).concat();
        assert_eq!(signatures(&database(&[("a.ndb", &lines)]), &marked(start)), [format!("T{target}")], "{}", start.escape_ascii());
    }
    let none = marked(b"PK\x03\x04");
    assert_eq!(scan(&database(&[("a.ndb", &format!("T:14:*:{}", hex_text("leaf_marker")))]), &none), Findings::default());
}

#[test]
fn pictures_are_known_by_their_hash() {
    let content = picture::tests::picture(5, image::ImageFormat::Png);
    let hash = format!("fuzzy_img#{:016x}", picture::hash(&content).unwrap());
    for (expression, subs, expected) in [
        ("0", vec![hash.clone()], true),
        ("0", vec![format!("{}#0", hash.to_uppercase().replace("FUZZY_IMG", "fuzzy_img"))], true),
        ("0", vec!["fuzzy_img#0123456789abcdef".to_owned()], false),
        ("0&1", vec![hash.clone(), hex_text("IHDR")], true),
        ("1&(0=0)", vec![hash, hex_text("IHDR")], false),
    ] {
        let subs: Vec<_> = subs.iter().map(String::as_str).collect();
        assert_eq!(logical(expression, &subs, &content), expected, "{expression} {subs:?}");
    }
}

#[test]
fn the_answer_is_the_worst_then_the_first_then_by_name() {
    let content = b"\0\x01\xff..alpha..bravo..charlie..";
    let (alpha, bravo, charlie) = (hex_text("alpha"), hex_text("bravo"), hex_text("charlie"));
    let ndb = format!("Z.First:0:*:{alpha}\nA.Second:0:*:{bravo}\nB.Second:0:*:{bravo}\nA.Last:0:*:{charlie}\nPUA.First:0:*:{alpha}\n");
    let ldb = format!("M.Between;Target:0;0&1;{charlie};{bravo}\n");
    let hdb = format!("{}:{}:Y.Whole\n", md5(content), content.len());
    let expected = ["Y.Whole", "Z.First", "A.Second", "B.Second", "M.Between", "A.Last", "PUA.First"];
    assert_eq!(signatures(&database(&[("a.ndb", &ndb), ("a.ldb", &ldb), ("a.hdb", &hdb)]), content), expected);
}

/// Each view counts for itself, as `clamscan` has it.
#[test]
fn texts_are_matched_as_they_are_and_normalised() {
    let text = b"Hello   World\n\nTEXT Mark\tk1";
    for (signature, expected) in [
        ("N:0:*:48656c6c6f202020", true),
        ("N:0:*:68656c6c6f20776f", true),
        ("N:7:*:68656c6c6f20776f", true),
        ("N:7:*:48656c6c6f202020", false),
        ("N:7:0:68656c6c6f20776f", true),
        ("N:7:EOF-2:6b31", true),
        ("N:3:*:68656c6c6f20776f", false),
    ] {
        assert_eq!(found("a.ndb", signature, text), expected, "{signature}");
    }
    let (raw, normal) = (hex_text("Hello   World"), hex_text("hello world"));
    for (line, expected) in [
        (format!("N;Target:0;0&1;{raw};{normal}"), false),
        (format!("N;Target:0;0&(1=0);{normal};{raw}"), true),
        (format!("N;Target:7;0&(1=0);{normal};{raw}"), true),
        (format!("N;FileSize:27-27,Target:7;0;{normal}"), true),
        (format!("N;FileSize:20-26,Target:0;0;{normal}"), false),
        (format!("N;Target:7;0&1;{normal};0/hello world text/"), true),
        (format!("N;Container:CL_TYPE_ANY,Target:7;0;{normal}"), true),
        (format!("N;Target:0;0=1;{}", hex_text("k1")), true),
    ] {
        assert_eq!(found("a.ldb", &line, text), expected, "{line}");
    }
}

#[test]
fn pages_are_matched_normalised() {
    let page = b"<html><body><!-- Comment --><a HREF=\"http://Link/x\">Some   Words</a><script>var Alpha;</script></body></html>";
    for (signature, expected) in [
        (format!("N:3:*:{}", hex_text("href=\"http://link/x\">some words")), true),
        (format!("N:3:*:{}", hex_text("comment")), false),
        (format!("N:0:*:{}", hex_text("<!-- Comment")), true),
        (format!("N:3:*:{}", hex_text("<!-- Comment")), false),
        (format!("N:7:*:{}", hex_text("var alpha")), true),
        (format!("N:7:*:{}", hex_text("some words")), false),
    ] {
        assert_eq!(found("a.ndb", &signature, page), expected, "{signature}");
    }
}
