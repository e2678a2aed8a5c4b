//! How an algorithm declares its connections to its neighbours.
//!
//! An abstraction owns its [`Port`]: its requests and its indications. An algorithm declares once, in
//! [`ports!`](macro@crate::ports), the port that it offers, the ports that it uses, the indications that it
//! watches, and its timers. The macro generates the algorithm's `Event`, its `Effect`, what a trace records
//! of them, and the wiring.

/// What the layer above requests of an abstraction, and what the abstraction indicates to it.
///
/// Any two types are a port as a pair: `(Request, Indication)`.
pub trait Port {
    /// The requests that the layer above makes.
    type Request: 'static;
    /// The indications that the layer above gets.
    type Indication: 'static;
}

impl<Request: 'static, Indication: 'static> Port for (Request, Indication) {
    type Request = Request;
    type Indication = Indication;
}

/// Declares the ports of an algorithm: gives its `Event` and `Effect`, their
/// [`Observe`](crate::Observe), and the functions that start it.
///
/// Each clause declares the connection to one neighbour, and names the variants of `Event` and `Effect` that
/// the handlers use for it. Below, `P` is a [`Port`](crate::ports::Port), `T` a type that is observed, and
/// `name` becomes a parameter of the functions that start the algorithm, in the order of the clauses. `up`,
/// if there is one, is the last parameter.
///
/// | clause | `Event` | `Effect` | parameter |
/// |---|---|---|---|
/// | `offers P => Ask -> Say;` | `Ask(Request)` | `Say(Indication)` | `up: Addr<Indication>` |
/// | `indicates T => Say;` | | `Say(T)` | `up: Addr<T>` |
/// | `uses name: P => Below;` | `Below(Indication)` | `Below(Request)` | `impl Layer<P>` |
/// | `uses name: P => Say / Ask;` | `Say(Indication)` | `Ask(Request)` | `impl Layer<P>` |
/// | `uses name: L => Below as P, Link;` | `Below(…)` | `Below(…)`, `Link(…)` | `impl Layer<L>` |
/// | `uses each name: P => Say / Ask;` | `Say(p, …)` | `Ask(p, …)` | `impl Fn(p, Addr<…>) -> Addr<…>` |
/// | `watches name: T => News;` | `News(T)` | | `&Addr<Addr<T>>` |
/// | `hears name: T => News;` | `News(T)` | | `impl FnOnce(Addr<T>)` |
/// | `asks name: T => Ask;` | | `Ask(T)` | `Addr<T>` |
/// | `accepts T => Ask;` | `Ask(T)` | | |
/// | `serves T => Join -> Tell, Answer;` | `Join(Addr<T>)` | `Tell(T, Vec<Addr<T>>)`, `Answer(T, Addr<T>)` | |
/// | `timer Name;`, `timer Name(T);` | `Name`, `Name(T)` | | |
/// | `notes T => Note;` | | `Note(T)`, for the trace alone | |
/// | `fn start(host, x: X) = …;` | | | |
///
/// - The functions that start the algorithm return the addresses for its requests, those of `offers`,
///   `accepts` and `serves`: nothing, one address, or a tuple.
/// - `uses … as P, Link` uses a layer `L` that carries `P`, such as best-effort broadcast on a lane of the
///   links. The handlers can use both `P` and `L` itself: requests of `P` become those of the layer, and its
///   indications become those of `P`, by `From`. `uses each` has one instance per process.
/// - `watches …, by f` subscribes by `f(name, address)`. `serves` may omit `Answer`.
/// - `offers …, observed f` and `uses …, observed f` give a function that observes a request whose type does
///   not implement it. `timer Name(peer: ProcessId)` records the peer as part of the timer.
/// - `fn` declares a function that starts the algorithm made by the expression. Its own parameters come
///   before the others. `spawn_as(host, algorithm, …)` starts any algorithm with these ports, for example a
///   mutant.
/// - The first line may be `for<S: State>`, where the algorithm has parameters.
///
/// A trace records the request of `offers` and the indications of `offers`, `indicates` and `serves` as they
/// are; everything else is internal. There is at most one `offers` or `indicates`, and at least one `Event`
/// and one `Effect`. Both are `Debug` unless the algorithm has parameters. The mailbox is made first; then
/// the layers are attached in the order of the clauses.
#[macro_export]
macro_rules! ports {
    // The macro handles one clause after the other (`@next`), adds what follows from it (`@add`) to the
    // gathered parts, and makes items of them at the end. Every step passes on the same context: the
    // identifiers that the generated functions share (for hygiene they must come from one place), the
    // parameters of the algorithm, and the gathered parts.

    // The ports that the algorithm offers.
    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        offers $port:ty => $ask:ident -> $say:ident $(, observed $f:path)?; $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            events {
                /// A request of the layer above.
                $ask(<$port as $crate::Port>::Request),
            } { Event::$ask(request) => $crate::ports!(@observed request $($f)?), }
            effects {
                /// An indication to the layer above.
                $say(<$port as $crate::Port>::Indication),
            } { Effect::$say(indication) => $crate::Observe::observe(indication), }
            routes { Effect::$say(indication) => $up.send(indication), }
            up { $up: $crate::Addr<<$port as $crate::Port>::Indication>, } { $up, }
            returns { $mailbox.addr().with(Event::$ask) } { $crate::Addr<<$port as $crate::Port>::Request> }
        } $($rest)* }
    };

    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        accepts $t:ty => $ask:ident; $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            events {
                /// A request.
                $ask($t),
            } { Event::$ask(request) => $crate::Observe::observe(request).as_internal(), }
            returns { $mailbox.addr().with(Event::$ask) } { $crate::Addr<$t> }
        } $($rest)* }
    };

    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        indicates $t:ty => $say:ident; $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            effects {
                /// An indication to the layer above.
                $say($t),
            } { Effect::$say(indication) => $crate::Observe::observe(indication), }
            routes { Effect::$say(indication) => $up.send(indication), }
            up { $up: $crate::Addr<$t>, } { $up, }
        } $($rest)* }
    };

    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        serves $t:ty => $subscribe:ident -> $indicate:ident $(, $answer:ident)?; $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            events {
                /// A new subscriber.
                $subscribe($crate::Addr<$t>),
            } { Event::$subscribe(_) => $crate::Observation::internal(stringify!($subscribe)), }
            effects {
                /// News, for these subscribers.
                $indicate($t, Vec<$crate::Addr<$t>>),
                $(/// The present state, for a new subscriber.
                $answer($t, $crate::Addr<$t>),)?
            } {
                Effect::$indicate(indication, _) => $crate::Observe::observe(indication),
                $(Effect::$answer(indication, _) => $crate::Observe::observe(indication).as_internal(),)?
            }
            routes {
                Effect::$indicate(indication, subscribers) => {
                    for subscriber in &subscribers {
                        subscriber.send(indication.clone());
                    }
                }
                $(Effect::$answer(indication, subscriber) => subscriber.send(indication),)?
            }
            returns { $mailbox.addr().with(Event::$subscribe) } { $crate::Addr<$crate::Addr<$t>> }
        } $($rest)* }
    };

    // The ports that the algorithm uses.
    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        uses $name:ident: $lower:ty => $port:ident as $p:ty, $direct:ident; $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            events {
                /// An indication of the layer below.
                $port(<$p as $crate::Port>::Indication),
            } { Event::$port(indication) => $crate::Observe::observe(indication).as_internal(), }
            effects {
                /// A request to the layer below.
                $port(<$p as $crate::Port>::Request),
                /// A request to the layer that carries it.
                $direct(<$lower as $crate::Port>::Request),
            } {
                Effect::$port(request) => $crate::Observe::observe(request).as_internal(),
                Effect::$direct(request) => $crate::Observe::observe(request).as_internal(),
            }
            parameters { $name: impl $crate::Layer<$lower>, } { $name, }
            joins {
                let enter = |said: <$lower as $crate::Port>::Indication| Event::$port(said.into());
                let said = $mailbox.addr().with(enter);
                let $name = $crate::Layer::<$lower>::attach($name, said);
            }
            routes {
                Effect::$port(request) => $name.send(request.into()),
                Effect::$direct(request) => $name.send(request),
            }
        } $($rest)* }
    };

    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        uses each $name:ident: $port:ty => $say:ident / $ask:ident; $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            events {
                /// An indication of the instance for this process.
                $say($crate::ProcessId, <$port as $crate::Port>::Indication),
            } { Event::$say(p, indication) => $crate::Observe::observe(indication).as_internal().peer(*p), }
            effects {
                /// A request to the instance for this process.
                $ask($crate::ProcessId, <$port as $crate::Port>::Request),
            } { Effect::$ask(p, request) => $crate::Observe::observe(request).as_internal().peer(*p), }
            parameters {
                $name: impl Fn(
                    $crate::ProcessId,
                    $crate::Addr<<$port as $crate::Port>::Indication>,
                ) -> $crate::Addr<<$port as $crate::Port>::Request>,
            } { $name, }
            joins {
                let join = |p| {
                    let said = $mailbox.addr().with(move |said| Event::$say(p, said));
                    (p, $name(p, said))
                };
                let $name: std::collections::BTreeMap<_, _> =
                    $host.processes().iter().map(join).collect();
            }
            routes {
                Effect::$ask(p, request) => {
                    if let Some(instance) = $name.get(&p) {
                        instance.send(request);
                    }
                }
            }
        } $($rest)* }
    };

    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        uses $name:ident: $port:ty => $say:ident / $ask:ident $(, observed $f:path)?; $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            events {
                /// An indication of the layer below.
                $say(<$port as $crate::Port>::Indication),
            } { Event::$say(indication) => $crate::Observe::observe(indication).as_internal(), }
            effects {
                /// A request to the layer below.
                $ask(<$port as $crate::Port>::Request),
            } { Effect::$ask(request) => $crate::ports!(@observed request $($f)?).as_internal(), }
            parameters { $name: impl $crate::Layer<$port>, } { $name, }
            joins { let $name = $crate::Layer::<$port>::attach($name, $mailbox.addr().with(Event::$say)); }
            routes { Effect::$ask(request) => $name.send(request), }
        } $($rest)* }
    };

    (@next $names:tt $generics:tt $gathered:tt
        uses $name:ident: $p:ty => $port:ident $(, observed $f:path)?; $($rest:tt)*) => {
        $crate::ports! {
            @next $names $generics $gathered
            uses $name: $p => $port / $port $(, observed $f)?;
            $($rest)*
        }
    };

    // What the algorithm watches, hears and asks besides.
    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        watches $name:ident: $t:ty => $news:ident $(, by $subscribe:path)?; $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            events {
                /// News.
                $news($t),
            } { Event::$news(news) => $crate::Observe::observe(news).as_internal(), }
            parameters { $name: &$crate::Addr<$crate::Addr<$t>>, } { $name, }
            joins { $crate::ports!(@subscribe $name, $mailbox.addr().with(Event::$news) $(, $subscribe)?); }
        } $($rest)* }
    };

    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        hears $name:ident: $t:ty => $news:ident; $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            events {
                /// News.
                $news($t),
            } { Event::$news(news) => $crate::Observe::observe(news).as_internal(), }
            parameters { $name: impl FnOnce($crate::Addr<$t>), } { $name, }
            joins { $name($mailbox.addr().with(Event::$news)); }
        } $($rest)* }
    };

    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        asks $name:ident: $t:ty => $ask:ident; $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            effects {
                /// A request to a neighbour.
                $ask($t),
            } { Effect::$ask(request) => $crate::Observe::observe(request).as_internal(), }
            parameters { $name: $crate::Addr<$t>, } { $name, }
            routes { Effect::$ask(request) => $name.send(request), }
        } $($rest)* }
    };

    // Timers, and notes for the trace.
    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        timer $timer:ident; $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            events {
                /// A timer.
                $timer,
            } { Event::$timer => $crate::Observation::internal(stringify!($timer)), }
        } $($rest)* }
    };

    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        timer $timer:ident($t:ty); $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            events {
                /// A timer.
                $timer($t),
            } { Event::$timer(_) => $crate::Observation::internal(stringify!($timer)), }
        } $($rest)* }
    };

    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        timer $timer:ident($of:ident: $t:ty); $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            events {
                /// A timer.
                $timer($t),
            } { Event::$timer(value) => $crate::Observation::internal(stringify!($timer)).$of(*value), }
        } $($rest)* }
    };

    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        notes $t:ty => $note:ident; $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            effects {
                /// For the trace alone.
                $note($t),
            } { Effect::$note(note) => $crate::Observe::observe(note).as_internal(), }
            routes { Effect::$note(_) => {} }
        } $($rest)* }
    };

    // A function that starts the algorithm.
    (@next ($host:ident $mailbox:ident $up:ident) $generics:tt $gathered:tt
        $(#[$attribute:meta])* $visibility:vis fn $function:ident($h:ident $(, $x:ident: $x_type:ty)* $(,)?) = $start:expr; $($rest:tt)*) => {
        $crate::ports! { @add ($host $mailbox $up) $generics $gathered {
            function { [$(#[$attribute])* $visibility fn $function] $h [$($x: $x_type,)*] $start }
        } $($rest)* }
    };

    (@add $names:tt $generics:tt
        { [$($events:tt)*] [$($seen:tt)*] [$($effects:tt)*] [$($done:tt)*] [$($parameters:tt)*]
          [$($arguments:tt)*] [$($joins:tt)*] [$($routes:tt)*] [$($up:tt)*] [$($upward:tt)*]
          [$($returns:tt)*] [$($types:tt)*] [$($functions:tt)*] }
        { $(events { $($event:tt)* } { $($sight:tt)* })?
          $(effects { $($effect:tt)* } { $($deed:tt)* })?
          $(parameters { $($parameter:tt)* } { $($argument:tt)* })?
          $(joins { $($join:tt)* })?
          $(routes { $($route:tt)* })?
          $(up { $($last:tt)* } { $($last_argument:tt)* })?
          $(returns $return:tt $type:tt)?
          $(function $function:tt)? }
        $($rest:tt)*
    ) => {
        $crate::ports! {
            @next $names $generics
            { [$($events)* $($($event)*)?] [$($seen)* $($($sight)*)?]
              [$($effects)* $($($effect)*)?] [$($done)* $($($deed)*)?]
              [$($parameters)* $($($parameter)*)?] [$($arguments)* $($($argument)*)?]
              [$($joins)* $($($join)*)?] [$($routes)* $($($route)*)?]
              [$($up)* $($($last)*)?] [$($upward)* $($($last_argument)*)?]
              [$($returns)* $($return)?] [$($types)* $($type)?] [$($functions)* $($function)?] }
            $($rest)*
        }
    };

    // The end: the items.
    (@next $names:tt
        { [$($attribute:tt)*] [$($bounded:tt)*] [$($generic:tt)*] }
        { [$($events:tt)*] [$($seen:tt)*] [$($effects:tt)*] [$($done:tt)*] $parameters:tt $arguments:tt
          $joins:tt $routes:tt $up:tt $upward:tt $returns:tt $types:tt $functions:tt }
    ) => {
        /// What the algorithm reacts to.
        $($attribute)*
        pub enum Event<$($bounded)*> {
            $($events)*
        }

        /// What the algorithm triggers.
        $($attribute)*
        pub enum Effect<$($bounded)*> {
            $($effects)*
        }

        impl<$($bounded)*> $crate::Observe for Event<$($generic)*> {
            fn observe(&self) -> $crate::Observation {
                match self {
                    $($seen)*
                }
            }
        }

        impl<$($bounded)*> $crate::Observe for Effect<$($generic)*> {
            fn observe(&self) -> $crate::Observation {
                match self {
                    $($done)*
                }
            }
        }

        $crate::ports! {
            @wiring $names [$($bounded)*] [$($generic)*] $parameters $up $joins $routes $returns $types
        }

        $crate::ports! {
            @functions [$($bounded)*] $parameters $arguments $up $upward $types $functions
        }
    };

    (@wiring ($host:ident $mailbox:ident $up_name:ident)
        [$($bounded:tt)*] [$($generic:tt)*] [$($parameters:tt)*] [$($up:tt)*] [$($joins:tt)*]
        [$($routes:tt)*] $returns:tt $types:tt
    ) => {
        /// Starts any algorithm with these ports: this one, or a mutant of it.
        #[allow(clippy::too_many_arguments, reason = "each port is a parameter")]
        #[allow(clippy::unused_unit, reason = "nothing may be asked of it")]
        pub(crate) fn spawn_as<$($bounded)*>(
            $host: &impl $crate::Host,
            algorithm: impl $crate::Algorithm<
                Event = Event<$($generic)*>,
                Effect = Effect<$($generic)*>,
            >,
            $($parameters)*
            $($up)*
        ) -> $crate::ports!(@tuple $types) {
            let $mailbox = $host.mailbox();
            let returned = $crate::ports!(@tuple $returns);
            $($joins)*
            $host.start($mailbox, algorithm, move |effect| match effect {
                $($routes)*
            });
            returned
        }
    };

    (@functions $bounded:tt $parameters:tt $arguments:tt $up:tt $upward:tt $types:tt
        [$($function:tt)*]
    ) => {
        $($crate::ports! {
            @function $bounded $parameters $arguments $up $upward $types $function
        })*
    };

    (@function [$($bounded:tt)*] [$($parameters:tt)*] [$($arguments:tt)*] [$($up:tt)*]
        [$($upward:tt)*] $types:tt { [$($head:tt)*] $host:ident [$($own:tt)*] $start:expr }
    ) => {
        #[allow(clippy::too_many_arguments, reason = "each port is a parameter")]
        $($head)*<$($bounded)*>(
            $host: &impl $crate::Host,
            $($own)*
            $($parameters)*
            $($up)*
        ) -> $crate::ports!(@tuple $types) {
            spawn_as($host, $start, $($arguments)* $($upward)*)
        }
    };

    // Nothing, one thing, or a tuple of several.
    (@tuple []) => { () };
    (@tuple [{ $($one:tt)* }]) => { $($one)* };
    (@tuple [$({ $($each:tt)* })+]) => { ($($($each)*),+) };

    (@observed $request:ident) => { $crate::Observe::observe($request) };
    (@observed $request:ident $f:path) => { $f($request) };

    (@subscribe $name:ident, $address:expr) => { $name.send($address) };
    (@subscribe $name:ident, $address:expr, $subscribe:path) => { $subscribe($name, $address) };

    (@next $names:tt $generics:tt $gathered:tt $($rest:tt)+) => {
        compile_error!(concat!("no clause of ports!: ", stringify!($($rest)+)));
    };

    // The beginning.
    (for<$($g:ident: $bound:ident $(+ $more:ident)*),+>; $($clauses:tt)+) => {
        $crate::ports! {
            @next (host mailbox up) { [] [$($g: $bound $(+ $more)*),+] [$($g),+] }
            { [] [] [] [] [] [] [] [] [] [] [] [] [] }
            $($clauses)+
        }
    };
    ($($clauses:tt)+) => {
        $crate::ports! {
            @next (host mailbox up) { [#[derive(Debug)]] [] [] }
            { [] [] [] [] [] [] [] [] [] [] [] [] [] }
            $($clauses)+
        }
    };
}

#[cfg(test)]
mod tests;
