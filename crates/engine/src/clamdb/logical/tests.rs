use super::{expression::evaluate, *};

fn holds(expression: &str, counts: &[u32]) -> bool {
    // Every part must be named.
    let named = (0..counts.len()).filter(|sub| !expression.contains(&sub.to_string())).map(|sub| format!("&({sub}<9999)"));
    let expression = format!("({expression}){}", named.collect::<String>());
    let expression = Expression::parse(&expression).unwrap();
    let count = |sub: usize| counts.get(sub).copied().unwrap_or(0);
    let mut words = Words::default();
    expression.put(&mut words);
    let holds = evaluate(&mut Cursor::new(words.as_slice(), 0), &count);
    let matching = counts.iter().filter(|count| **count > 0).count() as u32;
    assert!(!holds || expression.least(u64::MAX) <= matching, "never fewer than the least");
    holds
}

#[test]
fn expressions_that_cannot_be_read_are_refused() {
    let deep = "(".repeat(100) + "0" + &")".repeat(100);
    for text in [
        "",
        "a",
        "0&",
        "&0",
        "0||1",
        "(0",
        "0)",
        "0=",
        "0=1,",
        "0>a",
        "64",
        "1",
        "0&2",
        "4294967296",
        &deep,
        &"0&".repeat(3000),
        &("0".to_owned() + &"=1".repeat(99)),
    ] {
        assert!(Expression::parse(text).is_err(), "{text}");
    }
}

#[test]
fn expressions_hold_as_the_manual_says() {
    for (expression, counts, expected) in [
        ("0", &[1][..], true),
        ("0", &[0], false),
        ("0&1", &[1, 0], false),
        ("0|1", &[0, 1], true),
        ("0=0", &[0], true),
        ("0=0", &[1], false),
        ("0=2", &[2], true),
        ("0=2", &[3], false),
        ("0>2", &[3], true),
        ("0<2", &[1], true),
        ("0<2", &[2], false),
        ("(0|1)>3,2", &[3, 1], true),
        ("(0|1)>3,2", &[4, 0], false),
        ("(0|1)=4,2", &[3, 1], true),
        ("((0=3)|(1=1))=4", &[3, 1], true),
        ("((0|1)&(2|3))&4", &[0, 1, 1, 0, 1], true),
        ("((0|1)&(2|3))&4", &[0, 1, 0, 0, 1], false),
        ("(0&2)>0", &[3, 1, 0], false),
        ("(0&2)=3", &[3, 1, 0], false),
        ("(0&2)=0", &[3, 1, 0], true),
        ("(0|2)>2", &[3, 1, 0], true),
        ("((0=2)|1)=4", &[3, 1, 0], false),
        ("((0=2)|1)=1", &[3, 1, 0], true),
        ("((0=3)|1)=4", &[3, 1, 0], true),
        ("0|1&2", &[3, 1, 0], true),
        ("2&1|0", &[3, 1, 0], false),
        ("0&1=0", &[1, 0], true),
        ("0&1=0", &[1, 1], false),
    ] {
        assert_eq!(holds(expression, counts), expected, "{expression} {counts:?}");
    }
}

#[test]
fn lines_that_are_none_are_refused() {
    for line in [
        "",
        "Name",
        "Name;Target:0",
        "Name;Target:0;0",
        "Name;Target:0;0&1;6161",
        "Name;Target:0;0;6161;6262",
        "Name;;0;6161",
        "Name;Engine:51-255;0;6161",
        "Name;Target:99;0;6161",
        "Name;Target:0,Nothing:1;0;6161",
        "Name;Target:0,FileSize:x;0;6161",
        "Name;Target:0;0;6161::q",
        "Name;Target:0;0;EP+0:6161",
        "Name;Target:0;0;61",
        "Name;Target:0;0&1;6161;0/a",
        "Name;Target:0;0&1;6161;0//",
        "Name;Target:0;0&1;6161;0/(/",
        "Name;Target:0;0&1;6161;1/a/",
        "Name;Target:0;0&1;6161;/a/",
        "Name;Target:0;0&1;6161;0/a/q",
        "Name;Target:0;0&1;6161;x:0/a/",
        "Name;Target:0;0&1;6161;0(>>5#ib3#=1)",
        "Name;Target:0;0&1;6161;${6-7}32$",
        "Name;Target:0;0;fuzzy_img#af2ad01ed42993c7#4",
        "Name;Target:0;0;fuzzy_img#af2ad01ed42993c#0",
    ] {
        assert!(matches!(parse(line).map(|line| line.name), Err(Refused::Invalid(_))), "{line}");
    }
    for (line, kind) in [
        ("N;Target:0;0&1;6161;0/abc/E", "ldb PCRE with flag E"),
        ("N;Target:0;0&1;6161;0/(*UTF8)abc/", "ldb PCRE with control verbs"),
        ("N;Target:0,HandlerType:CL_TYPE_ZIP;0;6161", "ldb HandlerType"),
        ("N;Target:1;0;VI:6161", "offset VI"),
    ] {
        assert_eq!(parse(line).map(|line| line.name), Err(Refused::Unsupported(kind)), "{line}");
    }
    assert_eq!(parse("N;Engine:217-255,Target:0;0;6161").map(|line| line.name), Err(Refused::Level));
}
