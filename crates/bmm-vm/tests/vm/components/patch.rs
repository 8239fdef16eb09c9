//! Adds a function to a module that was compiled elsewhere.

/// Describes a function to add.
pub struct Addition<'a> {
    pub params: usize,
    pub results: usize,
    /// Variables besides the parameters; all values are of type `i32`.
    pub locals: u8,
    pub instructions: &'a [u8],
    pub export: &'a str,
}

/// Reads a number (LEB128) and how many bytes it has.
fn number(bytes: &[u8]) -> (usize, usize) {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return (value, at + 1);
        }
    }
    panic!("the number does not end");
}

/// Writes a number (LEB128).
pub fn encoded(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(u8::try_from(value & 0x7f | 0x80).unwrap());
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// Returns the sections of a module.
fn sections(module: &[u8]) -> Vec<(u8, &[u8])> {
    let (mut rest, mut list) = (&module[8..], Vec::new());
    while let Some((id, body)) = rest.split_first() {
        let (len, head) = number(body);
        list.push((*id, &body[head..head + len]));
        rest = &body[head + len..];
    }
    list
}

/// Returns how many functions a module imports, and the number of the one with this name.
pub fn imported(module: &[u8], wanted: &str) -> (usize, Option<usize>) {
    let sections = sections(module);
    let Some((_, mut rest)) = sections.iter().find(|(id, _)| *id == 2).copied() else { return (0, None) };
    let (count, head) = number(rest);
    rest = &rest[head..];
    let mut found = None;
    for at in 0..count {
        let mut name: &[u8] = &[];
        for _ in 0..2 {
            let (len, head) = number(rest);
            name = &rest[head..head + len];
            rest = &rest[head + len..];
        }
        assert_eq!(rest[0], 0, "these modules import functions only");
        found = if name == wanted.as_bytes() { Some(at) } else { found };
        rest = &rest[1 + number(&rest[1..]).1..];
    }
    (count, found)
}

/// Returns the number of an exported function.
pub fn exported(module: &[u8], wanted: &str) -> Option<usize> {
    let mut rest = sections(module).iter().find(|(id, _)| *id == 7)?.1;
    let (count, head) = number(rest);
    rest = &rest[head..];
    (0..count).find_map(|_| {
        let (len, head) = number(rest);
        let (name, kind) = (&rest[head..head + len], rest[head + len]);
        let (index, tail) = number(&rest[head + len + 1..]);
        rest = &rest[head + len + 1 + tail..];
        (name == wanted.as_bytes() && kind == 0).then_some(index)
    })
}

/// Returns the module with a function more, which is exported.
pub fn add(module: &[u8], added: &Addition<'_>) -> Vec<u8> {
    let sections = sections(module);
    let count = |wanted| sections.iter().find(|(id, _)| *id == wanted).map_or(0, |(_, body)| number(body).0);
    let (types, function) = (count(1), imported(module, "").0 + count(3));
    let ty = [
        vec![0x60],
        encoded(added.params),
        vec![0x7f; added.params],
        encoded(added.results),
        vec![0x7f; added.results],
    ];
    let export = [encoded(added.export.len()), added.export.as_bytes().to_vec(), vec![0], encoded(function)];
    let code = [vec![1, added.locals, 0x7f], added.instructions.to_vec(), vec![0x0b]].concat();
    let code = [encoded(code.len()), code];
    let mut changed = module[..8].to_vec();
    for (id, body) in sections {
        let more = match id {
            1 => ty.concat(),
            3 => encoded(types),
            7 => export.concat(),
            10 => code.concat(),
            _ => Vec::new(),
        };
        let body = if more.is_empty() {
            body.to_vec()
        } else {
            let (count, head) = number(body);
            [encoded(count + 1), body[head..].to_vec(), more].concat()
        };
        changed.push(id);
        changed.extend(encoded(body.len()));
        changed.extend(body);
    }
    changed
}
