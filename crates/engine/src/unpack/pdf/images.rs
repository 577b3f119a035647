//! Images whose pixels stand in a stream as they are, once its filters are undone (ISO 32000-2, 8.9.5).

use super::lexer::{Dictionary, Value};
use crate::nsfw::{Colours, Pixels};

/// Narrower ones are ornaments, or slices of which each shows nothing.
const NARROWEST: i64 = 16;

/// How to read the image that a stream holds; `None` where it is none, a stencil, or one whose colours are not told here.
///
/// `resolve` follows a reference, and gives `None` where it cannot tell.
pub(super) fn pixels(dictionary: &Dictionary, resolve: &dyn Fn(&Value) -> Option<Value>) -> Option<Pixels> {
    let value = |key: &str| dictionary.get(key).and_then(resolve);
    let number = |key: &str| value(key).and_then(|value| value.as_integer());
    if value("Subtype")?.as_name()? != b"Image" || value("ImageMask") == Some(Value::Bool(true)) {
        return None;
    }
    let (width, height) = (number("Width")?, number("Height")?);
    if width < NARROWEST || height < NARROWEST {
        return None;
    }
    let bits = u8::try_from(number("BitsPerComponent").unwrap_or(8)).ok().filter(|bits| matches!(bits, 1 | 2 | 4 | 8 | 16))?;
    let (colours, mut inverted) = colours(value("ColorSpace").as_ref(), resolve)?;
    if let Some(Value::Array(decode)) = value("Decode")
        && let [Value::Integer(1), Value::Integer(0), ..] = decode.as_slice()
    {
        inverted = !inverted;
    }
    Some(Pixels { width: u32::try_from(width).ok()?, height: u32::try_from(height).ok()?, bits, colours, inverted })
}

/// The colours of a space, and whether the highest sample is the darkest.
fn colours(space: Option<&Value>, resolve: &dyn Fn(&Value) -> Option<Value>) -> Option<(Colours, bool)> {
    let unknown = Some((Colours::ByLength, false));
    let (name, rest): (&[u8], &[Value]) = match space {
        Some(Value::Name(name)) => (name, &[]),
        Some(Value::Array(values)) => match values.split_first() {
            Some((Value::Name(name), rest)) => (name, rest),
            _ => return unknown,
        },
        _ => return unknown,
    };
    match name {
        b"DeviceGray" | b"CalGray" | b"G" => Some((Colours::Grey, false)),
        b"DeviceRGB" | b"CalRGB" | b"RGB" | b"Lab" => Some((Colours::Rgb, false)),
        b"DeviceCMYK" | b"CMYK" => Some((Colours::Cmyk, false)),
        // Of one ink, more of it is darker.
        b"Separation" => Some((Colours::Grey, true)),
        b"Indexed" | b"I" => palette(rest, resolve).map(|palette| (Colours::Palette(palette), false)),
        _ => unknown,
    }
}

/// The colours of an indexed space, where they stand in a string.
fn palette(space: &[Value], resolve: &dyn Fn(&Value) -> Option<Value>) -> Option<Vec<[u8; 3]>> {
    let [base, _, lookup, ..] = space else { return None };
    let (base, lookup) = (resolve(base)?, resolve(lookup)?);
    let bytes = lookup.as_text()?;
    let samples = match colours(Some(&base), resolve)? {
        (Colours::Rgb, _) => 3,
        (Colours::Grey, _) => 1,
        (Colours::Cmyk, _) => 4,
        (Colours::ByLength, _) => icc_components(&base, resolve)?,
        (Colours::Palette(_), _) => return None,
    };
    let colour = |entry: &[u8]| match *entry {
        [grey] => [grey; 3],
        [red, green, blue] => [red, green, blue],
        [cyan, magenta, yellow, black] => {
            let light = 255 - u32::from(black);
            [cyan, magenta, yellow].map(|ink| u8::try_from((255 - u32::from(ink)) * light / 255).unwrap_or(u8::MAX))
        }
        _ => [0; 3],
    };
    Some(bytes.chunks_exact(samples).map(colour).collect())
}

fn icc_components(base: &Value, resolve: &dyn Fn(&Value) -> Option<Value>) -> Option<usize> {
    let Value::Array(values) = base else { return None };
    let [Value::Name(name), profile, ..] = values.as_slice() else { return None };
    if name != b"ICCBased" {
        return None;
    }
    let profile = resolve(profile)?;
    let components = resolve(profile.as_dictionary()?.get("N")?)?.as_integer()?;
    usize::try_from(components).ok().filter(|components| matches!(components, 1 | 3 | 4))
}
