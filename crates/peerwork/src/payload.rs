//! Payloads: serde values as JSON, bounded.

use crate::{Error, Result};
use peerwork_core::PAYLOAD_BYTES_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Encodes the `what` (input, checkpoint, output) of `kind`.
pub(crate) fn encode<T: Serialize>(kind: &str, what: &str, value: &T) -> Result<Vec<u8>> {
    let bytes = serde_json::to_vec(value).map_err(|error| {
        Error::invalid(format!(
            "cannot encode the {what} of kind {kind:?} as JSON: {error}"
        ))
    })?;
    if bytes.len() > PAYLOAD_BYTES_MAX {
        return Err(Error::invalid(format!(
            "the {what} of kind {kind:?} has {} bytes, more than {PAYLOAD_BYTES_MAX}; store it elsewhere and pass a reference to it",
            bytes.len()
        )));
    }
    Ok(bytes)
}

/// Decodes what [`encode`] made. The text of the error does not repeat the payload.
pub(crate) fn decode<T: DeserializeOwned>(kind: &str, what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let reason = match error.classify() {
            serde_json::error::Category::Data => {
                "it does not have the fields or types that the handler expects"
            }
            serde_json::error::Category::Syntax => "it is not JSON",
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Io => "it could not be read",
        };
        Error::invalid(format!(
            "cannot decode the {what} of kind {kind:?}: {reason} (line {line}, column {column})"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_does_not_decode_is_not_repeated_in_the_error() {
        let error = decode::<u32>("dot", "input", b"\"secret\"").unwrap_err();
        assert!(
            error.is_invalid() && !error.to_string().contains("secret"),
            "{error}"
        );
        assert!(error.to_string().contains("input of kind \"dot\""));
    }

    #[test]
    fn a_payload_over_the_bound_names_its_size_and_the_way_out() {
        let error = encode("dot", "input", &"x".repeat(PAYLOAD_BYTES_MAX)).unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains("pass a reference"));
        assert!(encode("dot", "input", &"x".repeat(PAYLOAD_BYTES_MAX - 2)).is_ok());
    }
}
