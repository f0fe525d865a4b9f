//! For everybody: by keyboard, with assistive tools, in the dark, on paper, on a telephone.

use serde_json::json;

use super::{TAB, digits, numbers};

#[test]
fn everything_is_reached_by_tab_and_has_a_name() {
    let Some(browser) = digits().page() else { return };
    browser.run("for (const details of document.querySelectorAll('details')) details.open = true", &[]);
    browser
        .until("[...document.querySelectorAll('details')].every((details) => details.children.length > 1)");
    // One radio button of a group takes the focus.
    let wanted =
        "window.wanted = [...document.querySelectorAll('a[href], button, input, summary, [tabindex=\"0\"]')]
            .filter((element) => element.checkVisibility() && (element.type !== 'radio' || element.checked));
        return wanted.length";
    let wanted = browser.run(wanted, &[]).as_u64().unwrap();
    assert!(wanted > 60, "{wanted}");
    let follow = "[window.reached, window.outlined] = [[], 0];
        document.addEventListener('focusin', (event) => {
            reached.push(event.target);
            outlined += getComputedStyle(event.target).outlineStyle !== 'none'; });
        document.body.tabIndex = -1;
        document.body.focus();
        document.body.removeAttribute('tabindex')";
    browser.run(follow, &[]);
    for _ in 0..wanted.div_ceil(50) {
        browser.keys(&[TAB; 50]);
    }
    let missed = "return wanted.filter((element) => !reached.includes(element)).map((element) => element.outerHTML.slice(0, 200))";
    assert_eq!(browser.run(missed, &[]), json!([]));
    let order = "const first = wanted.map((element) => reached.indexOf(element));
        return first.every((at, i) => i === 0 || at > first[i - 1])";
    assert_eq!(browser.run(order, &[]), true, "in the order of the page");
    let shown = browser.run("return [outlined, reached.length]", &[]);
    assert_eq!(shown[0], shown[1], "the focus is seen");
    for element in browser.run("return wanted", &[]).as_array().unwrap() {
        let name = browser.name_of(element);
        assert!(
            !name.trim().is_empty(),
            "{}",
            browser.run("return arguments[0].outerHTML", std::slice::from_ref(element))
        );
    }
    let unnamed =
        browser.run("return [...document.images].filter((image) => !image.hasAttribute('alt')).length", &[]);
    assert_eq!(unnamed, 0);
}

#[test]
fn the_page_has_landmarks_and_headings_in_order() {
    let Some(browser) = digits().page() else { return };
    let levels = "return [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((heading) => Number(heading.tagName[1]))";
    let levels = numbers(&browser.run(levels, &[]));
    assert_eq!(levels[0], 1.0);
    assert_eq!(levels.iter().filter(|level| **level == 1.0).count(), 1);
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1.0), "{levels:?}");
    let parts = "return ['html[lang=en]', 'body > header', 'body > nav[aria-label]', 'body > main', 'body > footer', 'title']
        .filter((part) => document.querySelectorAll(part).length !== 1)";
    assert_eq!(browser.run(parts, &[]), json!([]));
    let twice = "const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
        return ids.filter((id, i) => ids.indexOf(id) !== i)";
    assert_eq!(browser.run(twice, &[]), json!([]));
    let dangling = "return [...document.querySelectorAll('a[href^=\"#\"]')]
        .filter((link) => !document.getElementById(link.hash.slice(1))).length";
    assert_eq!(browser.run(dangling, &[]), 0);
}

/// Words whose contrast is below what WCAG 2 AA asks: 4.5, or 3 where they are large.
const FAINT: &str = "
const parse = (colour) => { const [r, g, b, a = 1] = colour.match(/[0-9.]+/g).map(Number); return { rgb: [r, g, b], a }; };
const light = (rgb) => {
  const [r, g, b] = rgb.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  for (; element; element = element.parentElement) {
    const { rgb, a } = parse(getComputedStyle(element).backgroundColor);
    if (a === 1) return rgb;
  }
  return [255, 255, 255];
};
const faint = [];
for (const element of document.querySelectorAll('body *')) {
  if (!element.checkVisibility() || ![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
  if (element.closest('script, .skip, .legend svg, .on-light, .on-dark')) continue;
  const style = getComputedStyle(element);
  const [a, b] = [light(parse(element instanceof SVGElement ? style.fill : style.color).rgb), light(ground(element))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  if (contrast < (large ? 3 : 4.5)) faint.push([element.textContent.slice(0, 40), contrast]);
}
return faint";

#[test]
fn light_and_dark_differ_and_both_can_be_read() {
    let Some(browser) = digits().page() else { return };
    let ground = || browser.run("return getComputedStyle(document.body).backgroundColor", &[]);
    let light = ground();
    assert_eq!(browser.run(FAINT, &[]), json!([]));
    browser.screen(1280, 900, true);
    let dark = ground();
    assert_ne!(light, dark);
    assert_eq!(browser.run(FAINT, &[]), json!([]));
    // The switch goes against what the system says.
    browser.run("document.getElementById('theme').click()", &[]);
    assert_eq!(ground(), light);
    assert_eq!(browser.run("return document.getElementById('theme').textContent", &[]), "Dark colours");
    browser.screen(1280, 900, false);
    browser.run("document.getElementById('theme').click()", &[]);
    assert_eq!(ground(), dark);
    // The lines of charts are other colours too, at 3 : 1 at least against the page.
    let lines = "return [...document.querySelectorAll('.line')].map((line) => getComputedStyle(line).stroke)";
    let in_dark = browser.run(lines, &[]);
    browser.run("document.getElementById('theme').click()", &[]);
    assert_ne!(browser.run(lines, &[]), in_dark);
}

#[test]
fn paper_shows_all_figures_in_light_colours_and_no_controls() {
    let report = digits();
    let Some(browser) = report.page() else { return };
    let light = browser.run("return getComputedStyle(document.querySelector('h1')).color", &[]);
    browser.run("document.querySelector('canvas').scrollIntoView({ behavior: 'instant' })", &[]);
    browser.until("document.querySelector('canvas').dataset.drawn");
    browser.run("document.getElementById('theme').click(); dispatchEvent(new Event('beforeprint'))", &[]);
    browser.medium("print", true);
    assert_eq!(browser.run("return getComputedStyle(document.querySelector('h1')).color", &[]), light);
    let figures = "return [...document.querySelectorAll('figure')]
        .filter((figure) => ![...figure.querySelectorAll('.drawing > *')].some(seen)).map((figure) => figure.id)";
    let parts =
        "return [...document.querySelectorAll(arguments[0])].filter((part) => seen(part) === arguments[1])
        .map((part) => part.outerHTML.slice(0, 120))";
    let all =
        "figure pre, .plot svg, .sheet, .matrix svg, canvas, .small img, details.data:not(.unprinted) table";
    let controls = "button:not(.file), input, .tools, nav";
    browser.run(
        "window.seen = (part) => part.checkVisibility() && part.getBoundingClientRect().height > 5",
        &[],
    );
    assert_eq!(browser.run(figures, &[]), json!([]));
    assert_eq!(browser.run(parts, &[json!(all), json!(false)]), json!([]));
    assert_eq!(browser.run(parts, &[json!(controls), json!(true)]), json!([]));
    browser.medium("", false);
    let paper = browser.print();
    assert!(paper.starts_with("JVBERi"), "a PDF");
    assert!(paper.len() > 100_000, "{}", paper.len());
}

#[test]
fn narrow_screens_scroll_down_only() {
    let Some(browser) = digits().page() else { return };
    browser.run("for (const details of document.querySelectorAll('details')) details.open = true", &[]);
    for width in [380, 320] {
        browser.screen(width, 800, false);
        browser.until(&format!(
            "innerWidth === {width} && [...document.querySelectorAll('.plot svg')]
                .every((plot) => plot.viewBox.baseVal.width <= {width})"
        ));
        let more =
            "const { scrollWidth, clientWidth } = document.documentElement; return scrollWidth - clientWidth";
        assert_eq!(browser.run(more, &[]), 0, "{width}");
        let outside = "return [...document.querySelectorAll('main *')]
            .filter((part) => !part.closest('.wide, .unseen') && part.getBoundingClientRect().right > innerWidth + 1)
            .map((part) => part.outerHTML.slice(0, 120))";
        assert_eq!(browser.run(outside, &[]), json!([]));
    }
}
