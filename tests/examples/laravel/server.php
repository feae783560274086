<?php

/** The smallest application of Laravel around examples/laravel, for `php -S`: what `composer create-project` writes. */

use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Contracts\Http\Kernel;
use Illuminate\Foundation\Application;
use Illuminate\Foundation\Http\Kernel as HttpKernel;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Route;

// the framework of Debian is older than its PHP
error_reporting(E_ALL & ~E_DEPRECATED);

require_once 'Illuminate/autoload.php';
require_once 'GuzzleHttp/autoload.php';

$example = getenv('EXAMPLE');
spl_autoload_register(function (string $class) use ($example): void {
    if (str_starts_with($class, 'App\\')) {
        require $example . '/app/' . str_replace('\\', '/', substr($class, 4)) . '.php';
    }
});

$app = new Application(getenv('APPLICATION'));
$app->singleton(Kernel::class, HttpKernel::class);
$app->singleton(ExceptionHandler::class, \Illuminate\Foundation\Exceptions\Handler::class);
$app->booted(fn () => Route::middleware([])->group($example . '/routes/nouba.php'));

$kernel = $app->make(Kernel::class);
$request = Request::capture();
$response = $kernel->handle($request);
$response->send();
$kernel->terminate($request, $response);
