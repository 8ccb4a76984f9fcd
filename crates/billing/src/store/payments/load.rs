//! Reading an attempt with its bill and account under lock, and writing them back.
