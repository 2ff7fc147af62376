// What the shared library shows of itself: everything else is compiled with hidden visibility.
#pragma once

/// Stands before each class and function that the library defines in a source file.
#define RAPT_API __attribute__((visibility("default")))
