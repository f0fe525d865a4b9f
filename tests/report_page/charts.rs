//! Charts, bars, matrices and tables.

use std::collections::BTreeMap;

use fenchel::tolerance::EXACT;
use serde_json::{Value, json};

use super::{DOWN, RIGHT, digits, numbers};

/// Of a sweep's rows one value by curvature and pieces, over seeds.
fn groups(rows: &[Value], field: &str) -> BTreeMap<(String, u64), Vec<f64>> {
    let mut groups = BTreeMap::<_, Vec<f64>>::new();
    for row in rows {
        let way = format!("curvature {}", row["curvature_choice"].as_str().unwrap());
        if let Some(value) = row[field].as_f64() {
            groups.entry((way, row["pieces"].as_u64().unwrap())).or_default().push(value);
        }
    }
    groups
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The largest distance of points from the line `y = m x + c` through the two whose `x` are furthest apart.
fn off_line(points: &[(f64, f64)]) -> f64 {
    let least = points.iter().copied().min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    let most = points.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    assert!(most.0 > least.0);
    let slope = (most.1 - least.1) / (most.0 - least.0);
    points.iter().map(|(x, y)| (least.1 + slope * (x - least.0) - y).abs()).fold(0.0, f64::max)
}

#[test]
fn charts_have_a_mark_for_each_mean_and_a_dot_for_each_row_where_they_belong() {
    let report = digits();
    let Some(browser) = report.page() else { return };
    let rows = report.of_kind("sweep")["document"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2 * 3 * 2);
    let drawn = browser.run(
        "return [...document.querySelectorAll('.panel')].map((panel) => ({ title: panel.firstChild.textContent,
            ticks: [...panel.querySelectorAll('svg text')].map((text) => text.textContent),
            paths: [...panel.querySelectorAll('svg path')].map((path) => path.getAttribute('d') + (path.getAttribute('transform') ?? '')),
            series: [...panel.querySelectorAll('.series')].map((series) => ({ name: series.dataset.name,
                line: series.querySelector('.line').getAttribute('d'),
                marks: [...series.querySelectorAll('.mark')].map((mark) => {
                    const { e, f } = mark.transform.baseVal[0].matrix; return [e, f]; }),
                dots: [...series.querySelectorAll('.each')].map((dot) => [dot.cx.baseVal.value, dot.cy.baseVal.value]) })) }))",
        &[],
    );
    let fields = ["relative_rmse", "agreement", "accuracy", "relative_certificate", "violations"];
    assert_eq!(drawn.as_array().unwrap().len(), fields.len());
    for (panel, field) in drawn.as_array().unwrap().iter().zip(fields) {
        let all = panel.to_string();
        assert!(!all.contains("NaN") && !all.contains("Infinity"), "{all}");
        assert!(panel["ticks"].as_array().unwrap().len() >= 4, "{all}");
        let groups = groups(rows, field);
        let logarithmic = field == "relative_rmse"
            || field == "relative_certificate" && groups.values().flatten().all(|value| *value > 0.0);
        let scaled = |value: f64| if logarithmic { value.ln() } else { value };
        let (mut across, mut up, mut dots) = (vec![], vec![], 0);
        for series in panel["series"].as_array().unwrap() {
            let name = series["name"].as_str().unwrap();
            let own: Vec<_> = groups.iter().filter(|((way, _), _)| way == name).collect();
            let marks = series["marks"].as_array().unwrap();
            assert_eq!(marks.len(), own.len(), "{field}, {name}");
            assert_eq!(series["line"].as_str().unwrap().matches(',').count(), own.len());
            let each = series["dots"].as_array().unwrap();
            dots += each.len();
            let mut each = each.iter();
            for (mark, ((_, pieces), values)) in marks.iter().zip(own) {
                let mark = numbers(mark);
                across.push(((*pieces as f64).ln(), mark[0]));
                up.push((scaled(mean(values)), mark[1]));
                for (value, dot) in values.iter().zip(&mut each) {
                    up.push((scaled(*value), numbers(dot)[1]));
                }
            }
        }
        assert_eq!(dots, rows.len(), "{field}");
        // Hundredths of a pixel are kept.
        assert!(off_line(&across) < 0.05, "{field}: {across:?}");
        if up.iter().any(|(value, _)| *value != up[0].0) {
            assert!(off_line(&up) < 0.05, "{field}: {up:?}");
        }
    }
}

#[test]
fn charts_are_read_by_keyboard_and_pointer() {
    let report = digits();
    let Some(browser) = report.page() else { return };
    let rows = report.of_kind("sweep")["document"]["rows"].as_array().unwrap();
    let expected = |pieces| -> Vec<f64> {
        groups(rows, "relative_rmse")
            .iter()
            .filter(|((_, of), _)| *of == pieces)
            .map(|(_, values)| mean(values))
            .collect()
    };
    let reading = "const reading = document.querySelector('.reading');
        return reading.hidden ? null : [...reading.querySelectorAll('data')].map((number) => Number(number.value))";
    let agrees = |pieces: u64| {
        let read = numbers(&browser.run(reading, &[]));
        let expected = expected(pieces);
        assert_eq!(read.len(), expected.len());
        for (read, expected) in read.iter().zip(expected) {
            assert!((read - expected).abs() <= EXACT * expected.abs(), "{read} {expected}");
        }
    };
    browser.run("document.querySelector('.chart').focus()", &[]);
    browser.keys(&[RIGHT]);
    agrees(10);
    browser.keys(&[RIGHT]);
    agrees(30);
    browser.keys(&[RIGHT, RIGHT, RIGHT]);
    agrees(300);
    let spoken = browser.run("return document.querySelector('.panel [aria-live]').textContent", &[]);
    assert!(spoken.as_str().unwrap().contains("300 pieces"), "{spoken}");
    browser.run("document.activeElement.blur()", &[]);
    assert_eq!(browser.run(reading, &[]), Value::Null);
    let place = "document.querySelector('.chart').scrollIntoView({ behavior: 'instant', block: 'center' });
        const box = document.querySelectorAll('.series .mark')[1].getBoundingClientRect();
        return [box.left + 6, box.top]";
    let place = numbers(&browser.run(place, &[]));
    browser.mouse(&[[place[0], place[1]]]);
    agrees(30);
}

#[test]
fn tables_say_what_the_documents_say() {
    let report = digits();
    let Some(browser) = report.page() else { return };
    let open = "document.querySelector(`#${arguments[0]} details.data`).open = true";
    let cells = "return [...document.querySelectorAll(`#${arguments[0]} table tbody tr`)].map((row) =>
        [...row.cells].map((cell) => cell.querySelector('data')?.value ?? cell.textContent))";
    let shown =
        "return [...document.querySelectorAll('data')].map((number) => [number.value, number.textContent])
        .filter(([, text]) => !/%|MiB|[kM]?B|s$/.test(text))";

    let sweep = report.of_kind("sweep");
    browser.run(open, &[sweep["id"].clone()]);
    browser.until("document.querySelector('details.data tbody')");
    let table = browser.run(cells, &[sweep["id"].clone()]);
    let rows = sweep["document"]["rows"].as_array().unwrap();
    let fields = [
        "relative_rmse",
        "mean_abs",
        "max_abs",
        "agreement",
        "accuracy",
        "relative_certificate",
        "violations",
    ];
    let by_field: Vec<_> = fields.iter().map(|field| groups(rows, field)).collect();
    assert_eq!(table.as_array().unwrap().len(), by_field[0].len());
    for row in table.as_array().unwrap() {
        let text = |i: usize| row[i].as_str().unwrap();
        let key = (text(0).to_owned(), text(1).parse().unwrap());
        assert_eq!(text(2), "2", "seeds");
        for (i, groups) in by_field.iter().enumerate() {
            let (read, expected) = (text(3 + i).parse::<f64>().unwrap(), mean(&groups[&key]));
            assert!(
                (read - expected).abs() <= EXACT * expected.abs(),
                "{} at {key:?}: {read} {expected}",
                fields[i]
            );
        }
    }

    for figure in report.figures() {
        let said = browser.run(cells, &[figure["id"].clone()]);
        let drawn = &figure["drawn"];
        let expected = match figure["kind"].as_str().unwrap() {
            "table" => drawn["rows"].as_array().unwrap().clone(),
            "bars" => {
                let series = drawn["series"].as_array().unwrap();
                let row = |(i, x): (usize, &Value)| {
                    Value::Array(
                        std::iter::once(x)
                            .chain(series.iter().map(|series| &series["values"][i]))
                            .cloned()
                            .collect(),
                    )
                };
                drawn["x"].as_array().unwrap().iter().enumerate().map(row).collect()
            }
            _ => continue,
        };
        let said = said.as_array().unwrap();
        assert_eq!(said.len(), expected.len(), "{}", figure["id"]);
        for (said, expected) in said.iter().zip(&expected) {
            for (said, expected) in said.as_array().unwrap().iter().zip(expected.as_array().unwrap()) {
                let said = said.as_str().unwrap();
                match expected.as_f64() {
                    Some(expected) => assert_eq!(said.parse::<f64>().unwrap(), expected, "{}", figure["id"]),
                    None => assert_eq!(said, expected.as_str().unwrap_or("\u{2013}")),
                }
            }
        }
    }

    // What people read is the number to four digits.
    let numbers = browser.run(shown, &[]);
    assert!(numbers.as_array().unwrap().len() > 50);
    for pair in numbers.as_array().unwrap() {
        let value: f64 = pair[0].as_str().unwrap().parse().unwrap();
        let text = pair[1].as_str().unwrap().replace(',', "").replace('\u{2212}', "-");
        let Ok(read) = text.parse::<f64>() else {
            assert!(text.contains("\u{d7}"), "{pair}");
            continue;
        };
        assert!((read - value).abs() <= 5.1e-4 * value.abs(), "{pair}");
    }
}

#[test]
fn bars_are_as_long_as_their_numbers() {
    let report = digits();
    let Some(browser) = report.page() else { return };
    let figure = report.of_kind("bars");
    let lengths = "return [...document.querySelectorAll(`#${arguments[0]} .track`)].map((track) =>
        [track.clientWidth, track.firstChild.getBoundingClientRect().width, Number(track.nextSibling.value)])";
    let lengths = browser.run(lengths, &[figure["id"].clone()]);
    let lengths: Vec<_> = lengths.as_array().unwrap().iter().map(numbers).collect();
    let most = lengths.iter().map(|bar| bar[2]).fold(0.0, f64::max);
    assert!(most > 0.0 && lengths.len() >= 2);
    for bar in lengths {
        let expected = f64::max(1.0, bar[0] * bar[2] / most);
        assert!((bar[1] - expected).abs() < 1.0, "{bar:?} of {most}");
    }
}

#[test]
fn matrices_are_read_by_keyboard_and_pointer() {
    let report = digits();
    let Some(browser) = report.page() else { return };
    let figure = report.of_kind("matrix");
    let (id, values) = (&figure["id"], figure["drawn"]["values"].as_array().unwrap());
    let size = values.len();
    let cell = "const cell = document.querySelector(`#${arguments[0]} .cell`);
        return [cell.textContent, cell.querySelector('data').value]";
    let agrees = |row: usize, column: usize| {
        let said = browser.run(cell, std::slice::from_ref(id));
        assert_eq!(
            said[1].as_str().unwrap().parse::<f64>().unwrap(),
            values[row][column].as_f64().unwrap(),
            "{row}, {column}"
        );
        for name in [&figure["drawn"]["rows"][row], &figure["drawn"]["columns"][column]] {
            assert!(said[0].as_str().unwrap().contains(name.as_str().unwrap()), "{said}");
        }
    };
    browser.run("document.querySelector(`#${arguments[0]} .matrix`).focus()", std::slice::from_ref(id));
    browser.keys(&[RIGHT]);
    agrees(0, 0);
    browser.keys(&[DOWN, DOWN, RIGHT]);
    agrees(2, 1);
    let place = "const image = document.querySelector(`#${arguments[0]} image`);
        image.scrollIntoView({ behavior: 'instant', block: 'center' });
        const box = image.getBoundingClientRect();
        return [box.left, box.top, box.width, box.height]";
    let place = numbers(&browser.run(place, std::slice::from_ref(id)));
    for (row, column) in [(size / 3, size / 5), (size - 1, 0), (1, size - 1)] {
        let at = |start: f64, length: f64, i: usize| start + length * (i as f64 + 0.5) / size as f64;
        browser.mouse(&[[at(place[0], place[2], column), at(place[1], place[3], row)]]);
        agrees(row, column);
    }
    // Dark is little, bright is much.
    let pixels = "const picture = new Image();
        picture.src = document.querySelector(`#${arguments[0]} image`).getAttribute('href');
        return picture.decode().then(() => {
            const { width, height } = picture, canvas = Object.assign(document.createElement('canvas'), { width, height });
            const pen = canvas.getContext('2d');
            pen.drawImage(picture, 0, 0);
            return [width, height, [...pen.getImageData(0, 0, width, height).data]]; })";
    let pixels = browser.run(pixels, std::slice::from_ref(id));
    assert_eq!([&pixels[0], &pixels[1]], [&json!(size), &json!(size)]);
    let pixels = numbers(&pixels[2]);
    // Viridis gains green throughout.
    let mut shades: Vec<_> = values
        .iter()
        .flat_map(numbers)
        .zip(pixels.chunks(4))
        .map(|(value, pixel)| (value, pixel[1]))
        .collect();
    shades.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(shades.is_sorted_by(|a, b| a.1 <= b.1 + 1.0));
    assert!(shades[shades.len() - 1].1 > shades[0].1 + 100.0);
}
