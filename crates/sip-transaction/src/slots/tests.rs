use super::*;

#[test]
fn an_index_comes_back_with_another_generation() {
    let mut slots = Slots::new(2);
    let a = slots.insert('a').unwrap();
    let b = slots.insert('b').unwrap();
    assert_eq!(slots.insert('c'), Err('c'));
    assert_eq!(slots.remove(a), Some('a'));
    assert_eq!(slots.remove(a), None);
    let c = slots.insert('c').unwrap();
    assert_eq!(c.index, a.index);
    assert_eq!((slots.get(a), slots.get(b), slots.get(c)), (None, Some(&'b'), Some(&'c')));
    assert_eq!(slots.get_mut(a), None);
    assert_eq!(slots.id_at(a.index), Some(c));
    assert_eq!(slots.iter().map(|(id, value)| (id, *value)).collect::<Vec<_>>(), [(c, 'c'), (b, 'b')]);
    assert_eq!(slots.remove(b), Some('b'));
    assert_eq!((slots.len(), slots.id_at(b.index)), (1, None));
}
