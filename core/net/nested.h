// A fiber that begins at once, inside of whoever starts it: for calls of foreign code that mostly end without waiting.
#pragma once

#include "core/net/fiber.h"

namespace millrace::net {

// Runs `body` on a stack of its own until it ends (true) or waits for the first time (false: it then goes on as a fiber
// like any other, and what it refers to must last).  Stacks stay warm: no more than a switch there and back.  Errc::limit
// as Loop::spawn().  On the loop of this thread. [loop, fiber]
Result<bool> run_nested(Stack stack, std::function<void()> body);

}  // namespace millrace::net
