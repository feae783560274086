<?php

use App\Http\Controllers\NoubaController;
use Illuminate\Support\Facades\Route;

// Register it in a group without sessions, as routes/api.php is: an event has a signature and no CSRF token.
// The others belong behind your own sign-in.

Route::post('orders/{number}/pay', [NoubaController::class, 'pay']);
Route::get('orders/{number}', [NoubaController::class, 'showOrder']);
Route::post('courses/{course}/upload', [NoubaController::class, 'beginUpload'])->whereNumber('course');
Route::post('courses/{course}/upload/complete', [NoubaController::class, 'completeUpload'])->whereNumber('course');
Route::get('courses/{course}/lesson', [NoubaController::class, 'play'])->whereNumber('course');
Route::post('nouba-events', [NoubaController::class, 'receiveEvent']);
