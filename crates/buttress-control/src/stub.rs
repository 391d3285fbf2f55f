#![allow(missing_docs, unused, clippy::all, clippy::pedantic)]
use crate::Nanos; use std::time::Duration;
#[derive(Debug,Clone,Copy,Default)] pub struct Codel; impl Codel { pub const fn new(_:Duration,_:Duration)->Self{Codel} pub fn dequeue(&mut self,_:Nanos,_:Duration)->bool{false} pub fn emptied(&mut self,_:Nanos){} pub fn fresh(&self)->Self{Codel} pub fn is_overloaded(&self)->bool{false} }
#[derive(Debug,Default)] pub struct AcceptRatio; impl AcceptRatio { pub fn fresh(&self)->Self{AcceptRatio} pub fn attempt(&self,_:Nanos,_:f64)->bool{true} pub fn accept(&self,_:Nanos){} pub fn forget(&self,_:Nanos){} pub fn rejection(&self,_:Nanos)->f64{0.0} pub fn is_fresh(&self,_:Nanos)->bool{true} }
