// Takes a score that exceeds the last of a list into it; of equals the earlier stays ahead.
fn insert(last: u32, score: f32, piece: u32) {
    var at = last;
    for (var t = 1u; t < params.top; t++) {
        let before = at - params.points;
        if score <= values[before] {
            break;
        }
        values[at] = values[before];
        pieces[at] = pieces[before];
        at = before;
    }
    values[at] = score;
    pieces[at] = piece;
}
