//! Sizes of terminals.

use super::Result;
use crate::http::error::ApiError;
use crate::http::query::Query;
use orlop_model::streams::TerminalSize;

/// Reads `h` and `w`.
pub(crate) fn of_query(query: &Query) -> Result<TerminalSize> {
    let side = |name: &str| side(name, query.number(name)?.unwrap_or_default());
    Ok(TerminalSize { rows: side("h")?, columns: side("w")? })
}

/// Reads `[height, width]`.
pub(crate) fn of_list(list: &[i64]) -> Result<TerminalSize> {
    match list {
        [height, width] => {
            Ok(TerminalSize { rows: side("ConsoleSize", *height)?, columns: side("ConsoleSize", *width)? })
        }
        [] => Ok(TerminalSize::default()),
        _ => Err(ApiError::bad("ConsoleSize: a height and a width are wanted")),
    }
}

fn side(name: &str, number: i64) -> Result<u16> {
    u16::try_from(number).map_err(|_| ApiError::bad(format!("{name}: {number} is no size of a terminal")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rows_and_columns() {
        assert_eq!(of_list(&[24, 80]).unwrap(), TerminalSize { rows: 24, columns: 80 });
        assert_eq!(of_query(&Query::parse("h=5&w=6").unwrap()).unwrap(), TerminalSize { rows: 5, columns: 6 });
        assert!(of_list(&[1]).is_err() && of_list(&[-1, 1]).is_err() && of_list(&[1, 70_000]).is_err());
        assert!(of_query(&Query::parse("h=x").unwrap()).is_err());
    }
}
