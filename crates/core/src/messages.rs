//! How an algorithm declares the messages that it sends.

/// Declares the messages of an algorithm: gives the type, its [`Wire`](crate::wire::Wire), and its
/// [`Observe`](crate::Observe).
///
/// Each message has fields that [`serde`] encodes. After a semicolon it may have a tail, which is carried as
/// it is: any [`Wire`](crate::wire::Wire) type, such as `Bytes`. After the arrow come the methods of
/// [`Observation`](crate::Observation) that add to what a trace records beside the message's name. `Kind(T)`
/// carries a message of another algorithm, and a trace records it as that message.
///
/// ```
/// use bytes::Bytes;
/// use quorate_core::{message::digest, messages, wire::{self, Wire}};
///
/// messages! {
///     /// The messages.
///     #[derive(PartialEq, Debug)]
///     pub enum Message {
///         /// A payload.
///         Data {
///             /// Its number.
///             number: u64;
///             /// The payload.
///             payload: Bytes
///         } => instance(*number).digest(digest(payload)),
///         /// The receiver is to send all again.
///         Again,
///     }
/// }
///
/// let payload = Bytes::from_static(b"payload");
/// let message = Message::Data { number: 7, payload };
/// assert_eq!(Message::decode(wire::encode(&message)), Ok(message));
/// ```
#[macro_export]
macro_rules! messages {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $message:ident {
            $(
                $(#[$documentation:meta])*
                $kind:ident
                $({
                    $($(#[$about:meta])* $field:ident: $type:ty),*
                    $(; $(#[$of_tail:meta])* $tail:ident: $tail_type:ty)? $(,)?
                })?
                $(($carried:ty))?
                $(=> $($record:ident($value:expr)).+)?
            ),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        $visibility enum $message {
            $(
                $(#[$documentation])*
                $kind $({
                    $($(#[$about])* $field: $type,)*
                    $($(#[$of_tail])* $tail: $tail_type,)?
                })? $(($carried))?,
            )+
        }

        #[allow(clippy::redundant_pattern, reason = "it stands where a message carries another")]
        const _: () = {
            /// The kinds of messages: the number at the start of each encoding.
            #[repr(u32)]
            enum __Kind {
                $($kind,)+
            }

            impl $crate::wire::Wire for $message {
                fn encode(&self, out: &mut $crate::wire::BytesMut) {
                    match self {
                        $($message::$kind {
                            $($($field,)* $($tail,)?)?
                            $(0: carried @ $crate::messages!(@any $carried))?
                        } => {
                            $crate::wire::put_head(&(__Kind::$kind as u32, $($($field,)*)?), out);
                            $($($crate::wire::Wire::encode($tail, out);)?)?
                            $(<$carried as $crate::wire::Wire>::encode(carried, out);)?
                        })+
                    }
                }

                fn decode(mut bytes: $crate::wire::Bytes) -> ::core::result::Result<Self, $crate::wire::Undecodable> {
                    let message = match $crate::wire::take_head::<u32>(&mut bytes)? {
                        $(kind if kind == __Kind::$kind as u32 => {
                            $(
                                let ($($field,)*): ($($type,)*) = $crate::wire::take_head(&mut bytes)?;
                                $(let $tail = $crate::wire::Wire::decode(std::mem::take(&mut bytes))?;)?
                            )?
                            $message::$kind {
                                $($($field,)* $($tail,)?)?
                                $(0: <$carried as $crate::wire::Wire>::decode(std::mem::take(&mut bytes))?)?
                            }
                        })+
                        _ => return Err($crate::wire::Undecodable),
                    };
                    bytes.is_empty().then_some(message).ok_or($crate::wire::Undecodable)
                }
            }

            impl $crate::Observe for $message {
                #[allow(unused_variables, reason = "not all fields are recorded")]
                fn observe(&self) -> $crate::Observation {
                    match self {
                        $($message::$kind {
                            $($($field,)* $($tail,)?)?
                            $(0: carried @ $crate::messages!(@any $carried))?
                        } => {
                            $crate::messages!(
                                @observed $kind $(carried $carried)? [$($(.$record($value))+)?]
                            )
                        })+
                    }
                }
            }
        };
    };

    (@any $carried:ty) => { _ };

    (@observed $kind:ident [$($records:tt)*]) => {
        $crate::Observation::internal(stringify!($kind))$($records)*
    };
    (@observed $kind:ident $carried:ident $type:ty []) => {
        <$type as $crate::Observe>::observe($carried)
    };
}

#[cfg(test)]
mod tests {
    use crate::{
        Observation, Observe,
        message::digest,
        wire::{self, Bytes, Plain, Undecodable, Wire},
    };
    use serde::{Deserialize, Serialize};

    messages! {
        #[derive(Clone, PartialEq, Debug)]
        enum Message {
            Data { number: u64, more: Vec<u8>; payload: Bytes } => instance(*number).digest(digest(payload)),
            Count { number: u64 } => instance(*number).count(2),
            Tail {; payload: Bytes },
            Nothing,
            Other(Other),
        }
    }

    messages! {
        #[derive(Clone, PartialEq, Debug)]
        enum Other {
            Number { number: u64 } => instance(*number),
        }
    }

    /// The same messages without payloads, as the codec encodes an enum.
    #[derive(Serialize, Deserialize)]
    enum Head {
        Data { number: u64, more: Vec<u8> },
        Count { number: u64 },
        Tail,
        Nothing,
        Other(OtherHead),
    }

    #[derive(Serialize, Deserialize)]
    enum OtherHead {
        Number { number: u64 },
    }

    impl Plain for Head {}

    fn all() -> [(Message, Head, Bytes); 5] {
        let (number, more, payload) = (300, vec![1, 2], Bytes::from_static(b"payload"));
        let head = Head::Data {
            number,
            more: more.clone(),
        };
        let data = Message::Data {
            number,
            more,
            payload: payload.clone(),
        };
        let tail = Message::Tail {
            payload: payload.clone(),
        };
        [
            (data, head, payload.clone()),
            (
                Message::Count { number },
                Head::Count { number },
                Bytes::new(),
            ),
            (tail, Head::Tail, payload),
            (Message::Nothing, Head::Nothing, Bytes::new()),
            (
                Message::Other(Other::Number { number }),
                Head::Other(OtherHead::Number { number }),
                Bytes::new(),
            ),
        ]
    }

    #[test]
    fn a_message_is_its_kind_its_fields_and_its_tail() {
        for (message, head, tail) in all() {
            let bytes = wire::encode(&message);
            let expected = [wire::encode(&head), tail].concat();
            assert_eq!(bytes, expected, "{message:?}");
            assert_eq!(Message::decode(bytes), Ok(message));
        }
    }

    #[test]
    fn what_is_no_whole_message_or_more_is_refused() {
        for (message, head, tail) in all() {
            let bytes = wire::encode(&message);
            for length in 0..wire::encode(&head).len() {
                assert_eq!(Message::decode(bytes.slice(..length)), Err(Undecodable));
            }
            if tail.is_empty() {
                let more = [&bytes[..], &[0]].concat();
                assert_eq!(
                    Message::decode(more.into()),
                    Err(Undecodable),
                    "{message:?}"
                );
            }
        }
        assert_eq!(Message::decode(Bytes::from_static(&[5])), Err(Undecodable));
    }

    #[test]
    fn a_message_is_observed_as_it_says() {
        let [data, count, tail, _, other] = all().map(|(message, ..)| message.observe());
        let content = digest(b"payload");
        let internal = Observation::internal;
        assert_eq!(data, internal("Data").instance(300).digest(content));
        assert_eq!(count, internal("Count").instance(300).count(2));
        assert_eq!(tail, internal("Tail"));
        assert_eq!(other, internal("Number").instance(300));
    }
}
