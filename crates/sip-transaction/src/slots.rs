//! A slab whose ids carry a generation, so that an id kept too long finds nothing instead of another's entry.

/// Where an entry is: index and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SlotId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T> {
    Vacant { next: Option<u32> },
    Taken(T),
}

/// Entries of one kind, at most `limit` of them. Memory grows with the most that were ever held and is
/// reused.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Option<u32>,
    taken: u32,
    limit: u32,
}

impl<T> Slots<T> {
    pub(crate) fn new(limit: u32) -> Self {
        Slots { slots: Vec::new(), free: None, taken: 0, limit }
    }

    pub(crate) fn len(&self) -> usize {
        self.taken as usize
    }

    pub(crate) fn is_full(&self) -> bool {
        self.taken >= self.limit
    }

    /// Gives the value back when the limit is reached.
    pub(crate) fn insert(&mut self, value: T) -> Result<SlotId, T> {
        if self.is_full() {
            return Err(value);
        }
        self.taken += 1;
        if let Some(index) = self.free {
            let slot = &mut self.slots[index as usize];
            if let Content::Vacant { next } = slot.content {
                self.free = next;
            }
            slot.content = Content::Taken(value);
            return Ok(SlotId { index, generation: slot.generation });
        }
        // Not all taken and none free: so fewer slots than the limit, which is a u32.
        let index = self.slots.len() as u32;
        self.slots.push(Slot { generation: 0, content: Content::Taken(value) });
        Ok(SlotId { index, generation: 0 })
    }

    pub(crate) fn get(&self, id: SlotId) -> Option<&T> {
        match self.slots.get(id.index as usize) {
            Some(Slot { generation, content: Content::Taken(value) }) if *generation == id.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, id: SlotId) -> Option<&mut T> {
        match self.slots.get_mut(id.index as usize) {
            Some(Slot { generation, content: Content::Taken(value) }) if *generation == id.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// The id of whatever is at this index now.
    pub(crate) fn id_at(&self, index: u32) -> Option<SlotId> {
        match self.slots.get(index as usize) {
            Some(Slot { generation, content: Content::Taken(_) }) => {
                Some(SlotId { index, generation: *generation })
            }
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, id: SlotId) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation || matches!(slot.content, Content::Vacant { .. }) {
            return None;
        }
        let was = std::mem::replace(&mut slot.content, Content::Vacant { next: self.free });
        slot.generation = slot.generation.wrapping_add(1);
        self.free = Some(id.index);
        self.taken -= 1;
        match was {
            Content::Taken(value) => Some(value),
            Content::Vacant { .. } => None,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SlotId, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| match &slot.content {
            Content::Taken(value) => {
                Some((SlotId { index: index as u32, generation: slot.generation }, value))
            }
            Content::Vacant { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests;
