//! DER, as far as making and taking apart test material needs it. Independent of the gateway's own readers, which are
//! what is tested.

/// BIT STRING.
pub const BIT_STRING: u8 = 0x03;
/// OCTET STRING.
pub const OCTET_STRING: u8 = 0x04;
/// SEQUENCE.
pub const SEQUENCE: u8 = 0x30;

/// An element with `tag` and the concatenation of `parts` as its contents.
pub fn encode(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let mut element = vec![tag];
    match contents.len() {
        short @ 0..=0x7f => element.push(short as u8),
        long => {
            let bytes = long.to_be_bytes();
            let bytes = &bytes[long.leading_zeros() as usize / 8..];
            element.push(0x80 | bytes.len() as u8);
            element.extend_from_slice(bytes);
        }
    }
    element.extend_from_slice(&contents);
    element
}

/// The first element of `bytes` as tag, header's length and whole length.
fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (tag, first) = (*bytes.first()?, *bytes.get(1)?);
    let (start, length) = match first {
        0..=0x7f => (2, usize::from(first)),
        0x81..=0x84 => {
            let start = 2 + usize::from(first & 0x7f);
            let length = bytes.get(2..start)?;
            (
                start,
                length
                    .iter()
                    .fold(0, |length, byte| length << 8 | usize::from(*byte)),
            )
        }
        _ => return None,
    };
    let end = start.checked_add(length)?;
    (end <= bytes.len()).then_some((tag, start, end))
}

/// The contents of `element`, which nothing may follow.
pub fn contents(element: &[u8]) -> Option<&[u8]> {
    let (_, start, end) = header(element)?;
    (end == element.len()).then(|| &element[start..])
}

/// The elements that follow one another in `bytes`, each whole.
pub fn elements(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        let (_, _, end) = header(bytes)?;
        elements.push(&bytes[..end]);
        bytes = &bytes[end..];
    }
    Some(elements)
}
