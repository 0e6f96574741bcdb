//! The shapes of filters: where `+` stands in them, whatever their other levels are called. They bound
//! the work of a message.
//!
//! A message is looked for level by level, below the level of its own name and below `+`, so the nodes that
//! are looked at at one depth have different shapes: of nodes alike in that, the name leads to one. As many
//! shapes as the filters have beginnings of, so many nodes are looked at, however many filters there are.
//! docs/decisions/0022-shapes-of-filters.md says why so.

use super::topic::{self, ANY_LEVEL, ANY_REST};
use super::tree::Tree;
use std::collections::BTreeMap;

/// How deep filters may have any shape. There are 511 of those, the empty one too, so that none needs to be
/// counted.
const FREE_DEPTH: u8 = 8;

/// How many levels there are, without a `#` at the end, and which of them are `+`: the first one is the
/// lowest bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    depth: u8,
    any: u128,
}

const _: () = assert!(topic::LEVELS_MAX <= u128::BITS as usize);

impl Shape {
    /// That of `filter`.
    pub(super) fn of(filter: &str) -> Shape {
        let levels = topic::levels(filter).filter(|level| *level != ANY_REST);
        levels.fold(Shape::default(), |Shape { depth, any }, level| Shape {
            depth: depth + 1,
            any: any | u128::from(level == ANY_LEVEL) << depth,
        })
    }

    /// That of the filter which ends at `node` of `filters`.
    pub(super) fn at(filters: &Tree, node: u32) -> Shape {
        let levels = filters.levels_up(node).filter(|level| *level != ANY_REST);
        levels.fold(Shape::default(), |Shape { depth, any }, level| Shape {
            depth: depth + 1,
            any: any << 1 | u128::from(level == ANY_LEVEL),
        })
    }

    /// Those of its beginnings that are counted, itself among them.
    fn counted(self) -> impl Iterator<Item = Shape> {
        let beginnings = (FREE_DEPTH + 1..=self.depth).map(move |depth| {
            let levels = u128::MAX >> (u128::BITS - u32::from(depth));
            Shape { depth, any: self.any & levels }
        });
        // One without any `+` is that of the name itself.
        beginnings.filter(|shape| shape.any != 0)
    }
}

/// The shapes of the filters that somebody has subscribed to, as far as they are counted.
#[derive(Default)]
pub(super) struct Shapes {
    /// How many filters begin so.
    filters: BTreeMap<Shape, u32>,
}

impl Shapes {
    /// How many more there would be with `shape`.
    pub(super) fn lacking(&self, shape: Shape) -> usize {
        shape.counted().filter(|shape| !self.filters.contains_key(shape)).count()
    }

    /// A filter has `shape`.
    pub(super) fn add(&mut self, shape: Shape) {
        shape.counted().for_each(|shape| *self.filters.entry(shape).or_default() += 1);
    }

    /// A filter that had `shape` is gone.
    pub(super) fn remove(&mut self, shape: Shape) {
        for shape in shape.counted() {
            if let Some(filters) = self.filters.get_mut(&shape) {
                *filters -= 1;
                if *filters == 0 {
                    self.filters.remove(&shape);
                }
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.filters.len()
    }

    /// The memory that they take, about, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.filters.len() * size_of::<(Shape, u32)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_places_of_wildcards_count_and_only_deep_ones() {
        assert_eq!(Shape::of("a/b"), Shape { depth: 2, any: 0 });
        assert_eq!(Shape::of("+/b/+/#"), Shape { depth: 3, any: 0b101 });
        assert_eq!(Shape::of("#"), Shape::default());
        let counted = |filter: &str| Shape::of(filter).counted().count();
        assert_eq!(counted("+/+/+/+/+/+/+/+/#"), 0);
        assert_eq!(counted("1/2/3/4/5/6/7/8/9/10/11"), 0);
        assert_eq!(counted("1/2/3/4/5/6/7/8/9/10/+/#"), 1);
        assert_eq!(counted("+/2/3/4/5/6/7/8/9/10/11"), 3);
        assert_eq!(counted(&["+"; topic::LEVELS_MAX].join("/")), 120);
    }

    #[test]
    fn filters_that_are_alike_share_their_shapes() {
        let (one, other) = (Shape::of("+/b/c/d/e/f/g/h/i/j"), Shape::of("+/2/3/4/5/6/7/8/9"));
        let mut shapes = Shapes::default();
        assert_eq!(shapes.lacking(one), 2);
        shapes.add(one);
        assert_eq!((shapes.lacking(one), shapes.lacking(other), shapes.len()), (0, 0, 2));
        shapes.add(other);
        shapes.remove(one);
        assert_eq!((shapes.lacking(one), shapes.lacking(other), shapes.len()), (1, 0, 1));
        shapes.remove(other);
        assert_eq!((shapes.len(), shapes.memory()), (0, 0));
    }
}
